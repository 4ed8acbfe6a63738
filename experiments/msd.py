"""msd: forecasts of mass-spring-dampers with unknown mass, stiffness and damping."""

import functools
from collections.abc import Callable

import jax
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._config import Rated, resolve
from ._data import Dataset, make_msd
from ._data.msd import constants_of, LENGTHS, SCALE, SIZES
from ._models import law, published, Turns
from ._oscillators import (
    constants_figure,
    double,
    most_likely,
    NOISE,
    noise_bound,
    noisy,
)
from ._run import Run
from ._systems import change, compare, contenders, draw, predictions
from ._tasks import Forecast, Jumps
from .baselines import Model


# As many as 100 of 256 steps.
CONTEXT = {"quick": 25, "paper": 100}
STEPS = {"quick": 400, "paper": 20_000}
BATCH = {"quick": 32, "paper": 1024}
LEARNT, IDENTIFIED = "WARP-Phys, learnt", "WARP-Phys, identified"
# The paper's WARP.
PAPER = functools.partial(
    published,
    width=48,
    depth=3,
    decode=lambda network: wj.ActivatedDecoder(
        wj.NetworkDecoder(network), wj.Clip(38.0)
    ),
)


def jumps(context: int, length: int, scale: tuple[float, ...]) -> Jumps:
    """Returns the task of models that know the law, on sequences of `length` steps."""
    # The shares of a sequence are what matters, not its steps.
    return Jumps(context, scale=scale, longest=3 * length // 8, settled=length // 16)


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each, or as many as the paper's WARP has."""
    return contenders(data, key, make={"quick": None, "paper": PAPER}[preset])


def laws(data: Dataset, key: jax.Array) -> dict[str, wj.WARP]:
    """WARPs that know the law, and that have it wrong: without damping. Of each another
    whose constants may depend on the time asked for, so that a network may bend the law.
    """
    # Velocities are observed in another unit than positions per time.
    oscillator = functools.partial(
        wj.physics.OscillatorDecoder,
        # A ratio stays bounded where its denominator does.
        m=wj.physics.Positive(least=0.1),
        k=wj.physics.Positive(scale=0.8),
        time_scale=float(SCALE[1]),
    )
    damped = functools.partial(oscillator, c=wj.physics.Positive(scale=0.15))
    undamped = functools.partial(oscillator, c=0.0)
    _, length, channels = data.train.xs.shape
    scale = change(data) / float(np.sqrt(np.mean(data.train.xs**2)))
    drive = wj.Products(pairs=Turns(channels, scale))
    make = functools.partial(
        law, drive=drive, channels=channels, length=length, width=17, key=key
    )
    return {
        LEARNT: make(damped, numbers=3),
        "WARP-Phys, learnt, free in time": make(
            functools.partial(damped, at=None), numbers=3
        ),
        "WARP-Phys, no damping": make(undamped, numbers=2),
        "WARP-Phys, no damping, free in time": make(
            functools.partial(undamped, at=None), numbers=2
        ),
    }


def identified(data: Dataset) -> wj.WARP:
    """The law that each context identifies by least squares: nothing is trained."""
    _, length, channels = data.train.xs.shape
    features = wj.physics.Steps(channels, dt=1 / (length - 1))
    return wj.physics.least_squares(features)


def run(config: Rated) -> dict:
    """Forecast mass-spring-dampers, from (1, 0), in and out of the training range."""
    return forecast("msd", make_msd, SIZES, config)


def forecast(name: str, make: Callable, sizes: dict, config: Rated) -> dict:
    """Runs the experiment `name` on the data that `make(sizes, length)` gives."""
    config, _ = resolve(name, config)
    preset = config.preset
    data = make(sizes[preset], LENGTHS[preset])
    assert data.scale is not None
    scale = tuple(data.scale.tolist())
    free = Forecast(CONTEXT[preset], scale=scale)
    jumping = jumps(CONTEXT[preset], LENGTHS[preset], scale)
    lawful = laws(data, config.key("laws"))
    free_of_law = models(data, preset, config.key("models"))
    run = Run(name, name, config, (*lawful, *free_of_law, IDENTIFIED))
    budget = functools.partial(compare, run, data, steps=STEPS, batch=BATCH)
    shown = data.test.xs[0]
    by_law, trained = budget(jumping, lawful), budget(free, free_of_law)
    if run.wants(IDENTIFIED):
        by_law[IDENTIFIED] = identified(data)
        _without_training(run, data, jumping)
    _with_noise(run, data, jumping, by_law)
    predicted = predictions(jumping, by_law, shown) | predictions(free, trained, shown)
    draw(run, shown, predicted)
    in_units = {name: outputs * data.scale for name, outputs in predicted.items()}
    run.figure("phase_plane", figures.planes(shown[1:] * data.scale, in_units))
    if found := {name: by_law[name] for name in (LEARNT, IDENTIFIED) if name in by_law}:
        run.figure("constants", constants_figure(found, data, jumping.context))
    return run.finish()


def _without_training(run: Run, data: Dataset, task: Jumps) -> None:
    """Adds the row of what is identified, in double precision: single loses half of its
    digits in the normal equations, and no training asks for speed.
    """
    with jax.enable_x64(True):
        precise = double(data)
        run.reference(IDENTIFIED, task.test(precise)(identified(precise)))


def _with_noise(run: Run, data: Dataset, task: Jumps, by_law: dict[str, Model]) -> None:
    """Adds what models and theory say of the test set where a context has noise."""
    known = [name for name in (LEARNT, IDENTIFIED) if name in by_law]
    seen = noisy(data, data.test)
    for name in known:
        model = by_law[name]
        by = {
            name: task.predictions(model, seen),
            f"{name}, then refined": most_likely(data, model, seen, task.context),
        }
        for how, predicted in by.items():
            metrics = task.metrics(task.squared(predicted, data.test))
            run.reference(f"{how}, {NOISE:.0%} noise", metrics)
    if known:
        constants = constants_of("test", len(data.test.xs))
        least = noise_bound(data, constants, data.test.xs[:, 0], task.context)
        run.reference(f"bound of unbiased estimates, {NOISE:.0%} noise", least)
