"""lotka_volterra: repeat a piece of a predator-prey cycle after a rest, again and again."""

import functools

import jax

import warp_jax as wj

from ._config import Rated, resolve
from ._data import Dataset, make_lotka_volterra
from ._data.lotka_volterra import SIZES
from ._models import low_rank, published, warp
from ._run import Run
from ._systems import compare, contenders, draw, predictions
from ._tasks import RepeatCopy
from .baselines import Model


STEPS = {"quick": 150, "paper": 20_000}
BATCH = {"quick": 16, "paper": 1024}
# Rests last 50 steps of 256, and pieces have spikes of a few steps.
CYCLES = 20.0
# The paper's WARP.
PAPER = functools.partial(
    published,
    width=48,
    depth=3,
    decode=lambda network: wj.ActivatedDecoder(
        wj.NetworkDecoder(network), wj.DynamicTanh(2)
    ),
    hyper=None,
)


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each, or as many as the paper's WARP has. Changes
    are of the order of one: after the piece the latest observation is a zero.
    """
    cycling = functools.partial(low_rank, cycles=CYCLES)
    length, scale = data.train.xs.shape[1], 1.0
    quick = functools.partial(warp, length=length, scale=scale, transition=cycling)
    make = {"quick": quick, "paper": PAPER}[preset]
    return contenders(data, key, make=make, scale=scale)


def run(config: Rated) -> dict:
    """Repeat a piece of a trajectory, in and out of the training range of its law."""
    config, _ = resolve("lotka_volterra", config)
    preset = config.preset
    data, task = make_lotka_volterra(SIZES[preset]), RepeatCopy()
    made = models(data, preset, config.key("models"))
    run = Run("lotka_volterra", "lotka_volterra", config, made)
    trained = compare(run, data, task, made, steps=STEPS, batch=BATCH)
    assert data.test.context is not None
    shown = data.test.xs[0]
    draw(run, shown, predictions(task, trained, shown, data.test.context[0]))
    return run.finish()
