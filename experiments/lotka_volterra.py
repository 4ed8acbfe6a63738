"""lotka_volterra: repeat a piece of a predator-prey cycle after a rest, again and again."""

import functools

import jax

import warp_jax as wj

from ._config import Rated
from ._data import Dataset, make_lotka_volterra
from ._data.lotka_volterra import SIZES
from ._models import low_rank, published, rivals, warp
from ._run import count, Run
from ._systems import compare, draw, predictions
from ._tasks import RepeatCopy
from .baselines import Model


STEPS = {"quick": 150, "paper": 20_000}
BATCH = {"quick": 16, "paper": 1024}
# Rests last 50 steps of 256, and pieces have spikes of a few steps.
CYCLES = 20.0


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each, or as many as the paper's WARP has. Changes
    are of the order of one: after the piece the latest observation is a zero.
    """
    warp_key, rival_key = jax.random.split(key)
    length = data.train.xs.shape[1]
    make = {
        "quick": functools.partial(
            warp,
            length=length,
            scale=1.0,
            transition=functools.partial(low_rank, cycles=CYCLES),
        ),
        "paper": functools.partial(
            published,
            width=48,
            depth=3,
            decode=lambda network: wj.ActivatedDecoder(
                wj.NetworkDecoder(network), wj.DynamicTanh(2)
            ),
            hyper=None,
        ),
    }[preset]
    model = make(2, 2, key=warp_key)
    parameters = count(model)
    others = rivals(
        2, 2, length=length, scale=1.0, parameters=parameters, key=rival_key
    )
    return {"WARP": model, **others}


def run(config: Rated) -> dict:
    """Repeat a piece of a trajectory, in and out of the training range of its law."""
    run = Run("lotka_volterra", "lotka_volterra", config)
    preset = run.config.preset
    data, task = make_lotka_volterra(SIZES[preset]), RepeatCopy()
    trained = compare(
        run,
        data,
        task,
        models(data, preset, run.key("models")),
        steps=STEPS,
        batch=BATCH,
    )
    assert data.test.context is not None
    shown = data.test.xs[0]
    draw(run, shown, predictions(task, trained, shown, data.test.context[0]))
    return run.finish()
