"""completion: the rest of a picture from its first pixels, with uncertainty."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.nn as jnn
import jax.random as jr
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._completion import (
    AutoregressiveCompletion,
    Completion,
    completion_metrics,
    Levels,
    with_deviation,
)
from ._config import Flag, Rated, resolve
from ._data import data_folder, load_images, Split
from ._rivals import CELLS, rival, state_size
from ._run import Run
from ._sizes import count
from ._trial import Trial
from .baselines import fit_ridge, Model


BYTES = Levels(256, -1.0, 1.0)
# How a picture is completed, and updates for each way by preset: a step fed back at a time
# takes many times longer than all pixels read off one state.
TASKS = {"direct": Completion, "autoregressive": AutoregressiveCompletion}
STEPS = {
    "quick": {"direct": 150, "autoregressive": 50},
    "paper": {"direct": 20_000, "autoregressive": 10_000},
}
BATCH = 64
# Pictures that choose, and that are tested, by preset.
CHOOSING, TESTED = 500, {"quick": 2000, "paper": None}
REGRESSED = 20_000
WIDTH, MODES, CYCLES, WAVES = 32, 32, 100.0, 8
QUICK = "GRU", "S4D"


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `completion` can be asked for."""

    dataset: str = "mnist"
    """mnist or fashion-mnist, of 28 x 28 grey pixels; celeba, of 32 x 32 in colour."""
    given: int = 300
    """The first pixels, row by row, that are given: the paper has 100, 300 and 600."""
    reading: Literal["direct", "autoregressive"] = "direct"
    """Read all pixels off the state after those given, or feed each prediction back."""
    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (1e-3,)
    """Each is tried with each model; validation data chooses."""


def warp(
    shape: tuple[int, int, int], wrap: Callable, length: int, key: jax.Array
) -> wj.WARP:
    """Returns a WARP whose network is a picture: of a place, the colour there."""
    network_key, mode_key, map_key = jr.split(key, 3)
    height, width, channels = shape
    coordinates = wj.RasterCoordinates(height, width, waves=WAVES)
    network = eqx.nn.MLP(
        coordinates.out_size, 2 * channels, WIDTH, 2, jnn.silu, key=network_key
    )
    decoder = wj.NetworkDecoder(network)
    modes = wj.SpectralTransition(
        2 * MODES, channels, length=length, cycles=CYCLES, key=mode_key
    )
    return wj.WARP(
        decoder=wrap(decoder),
        transition=wj.SubspaceTransition(decoder.state_size, modes, key=map_key),
        initial=wj.LearntInitial(decoder.flatten(network)),
        coordinates=coordinates,
    )


def models(
    shape: tuple[int, int, int], key: jax.Array
) -> dict[str, Callable[[], Model]]:
    """Returns what makes each model: a WARP, and rivals of as many parameters that are read
    at the same places.
    """
    height, width, channels = shape
    wrap = functools.partial(wj.GaussianDecoder, min_std=0.05)
    length = height * width
    make = functools.partial(warp, shape, wrap, length, key)
    shared = {
        "length": length,
        "coordinates": wj.RasterCoordinates(height, width, waves=WAVES),
        "wrap": wrap,
        "key": key,
    }

    def rival_of(name: str) -> Model:
        parameters = count(make())
        return rival(name, channels, 2 * channels, parameters=parameters, **shared)

    return {"WARP": make, **{n: functools.partial(rival_of, n) for n in CELLS}}


def references(train: Split, chosen: Split, test: Split, given: int) -> dict:
    """Returns completions without training by gradient: the mean picture, and a ridge
    regression on the pixels given; with the deviations that they have in training.
    """
    truth, rest = train.xs[:, given:], (-1, test.xs.shape[1] - given, test.xs.shape[2])
    flat = [split.xs.reshape(len(split.xs), -1, 1) for split in (train, chosen, test)]
    cut = given * test.xs.shape[2]
    ridge = fit_ridge(
        flat[0][:, :cut], flat[0][:, cut:], (flat[1][:, :cut], flat[1][:, cut:])
    )
    found = {
        "mean picture": (truth.mean(0)[None], np.zeros(rest[1:])[None] + truth.mean(0)),
        "ridge": tuple(ridge(a[:, :cut]).reshape(rest) for a in (flat[0], flat[2])),
    }
    shape = test.xs[:, given:].shape
    return {
        name: with_deviation(after, truth - before, shape)
        for name, (before, after) in found.items()
    }


def run(config: Options) -> dict:
    """Complete pictures of which the first pixels are given, row by row."""
    config, _ = resolve("completion", config)
    images = load_images(config.dataset, data_folder(config.data))
    shape = images.train.pixels.shape[1:]
    if not 0 < config.given < shape[0] * shape[1]:
        raise ValueError(
            f"`--given` needs 1 to {shape[0] * shape[1] - 1} pixels of {config.dataset}; "
            f"got {config.given}."
        )
    made = models(shape, config.key("models"))
    run = Run("completion", images.name, config, made)
    task = TASKS[config.reading](config.given, BYTES)
    chosen = images.validation.take(slice(CHOOSING)).sequences()
    tested = images.test.take(slice(TESTED[config.preset])).sequences()
    quick = config.preset == "quick" and not config.models
    trained = {}
    for name, make in made.items():
        if not run.wants(name) or (quick and name not in ("WARP", *QUICK)):
            continue
        model = make()
        trial = Trial(
            name=name,
            model=model,
            loss=task.loss,
            batches=images.batches(BATCH, key=run.key("batches")),
            steps=config.steps or STEPS[config.preset][config.reading],
            state_size=state_size(model),
            validate=task.validate(chosen),
            test=task.test(tested),
        )
        trained[name] = run.choose(name, trial.at(config.learning_rates))
    fitted = images.train.take(slice(REGRESSED)).sequences()
    without = references(fitted, chosen, tested, config.given)
    for name, gaussian in without.items():
        truth = tested.xs[:, config.given :]
        run.reference(name, completion_metrics(gaussian, truth, BYTES))
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation NLL")
    )
    run.figure("completed", _drawn(task, tested, trained, without, shape))
    return run.finish()


def _drawn(task: Completion, tested: Split, trained: dict, without: dict, shape) -> Any:
    """Draws some pictures as they are and as they are completed."""
    some = tested.head(8)
    predict = jax.vmap(task.predict, (None, 0))
    means = {name: gaussian.mean[:8] for name, gaussian in without.items()}
    means |= {name: predict(model, some.xs).mean for name, model in trained.items()}
    known = some.xs[:, : task.context]
    pictures = {"original": some.xs} | {
        name: np.concatenate([known, np.asarray(mean)], axis=1)
        for name, mean in means.items()
    }
    frame = shape if shape[2] > 1 else shape[:2]
    shown = {
        k: np.clip(v.reshape(-1, *frame) / 2 + 0.5, 0, 1) for k, v in pictures.items()
    }
    return figures.images(shown)
