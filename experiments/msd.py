"""msd: forecasts of mass-spring-dampers with unknown mass, stiffness and damping."""

import functools
from collections.abc import Callable

import jax

import warp_jax as wj

from . import _figures as figures
from ._config import Rated
from ._data import Dataset, make_msd
from ._data.msd import LENGTHS, SCALE, SIZES
from ._models import law
from ._run import Run
from ._systems import change, compare, contenders, draw, predictions
from ._tasks import Forecast, Jumps
from .baselines import Model


# As many as 100 of 256 steps.
CONTEXT = {"quick": 25, "paper": 100}
STEPS = {"quick": 400, "paper": 20_000}
BATCH = {"quick": 32, "paper": 1024}


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each."""
    return contenders(data, key)


def laws(data: Dataset, key: jax.Array) -> dict[str, wj.WARP]:
    """WARPs that know the law, and one that has it wrong: without damping."""
    # Velocities are observed in another unit than positions per time.
    oscillator = functools.partial(
        wj.physics.OscillatorDecoder,
        m=1.0,
        k=wj.physics.Positive(scale=0.8),
        time_scale=float(SCALE[1]),
    )
    damped = functools.partial(oscillator, c=wj.physics.Positive(scale=0.15))
    undamped = functools.partial(oscillator, c=0.0)
    _, length, channels = data.train.xs.shape
    make = functools.partial(law, length=length, scale=change(data), key=key)
    return {
        "WARP-Phys, learnt": make(damped, channels, 2),
        "WARP-Phys, wrong law": make(undamped, channels, 1),
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
    run = Run(name, name, config)
    preset = run.config.preset
    data = make(sizes[preset], LENGTHS[preset])
    assert data.scale is not None
    scale = tuple(data.scale.tolist())
    free, jumps = (task(CONTEXT[preset], scale=scale) for task in (Forecast, Jumps))
    budget = functools.partial(compare, run, data, steps=STEPS, batch=BATCH)
    shown = data.test.xs[0]
    by_law = budget(jumps, laws(data, run.key("laws")))
    predicted = predictions(jumps, by_law, shown)
    trained = budget(free, models(data, run.key("models")))
    name = "WARP-Phys, identified"
    if run.wants(name):
        trained[name] = identified(data)
        run.reference(name, jumps.test(data)(trained[name]))
    predicted |= predictions(free, trained, shown)
    draw(run, shown, predicted)
    in_units = {name: outputs * data.scale for name, outputs in predicted.items()}
    run.figure("phase_plane", figures.planes(shown[1:] * data.scale, in_units))
    return run.finish()
