"""silverbox: simulation of a measured oscillator with a hardening spring."""

import jax

from ._config import Rated, resolve
from ._data import data_folder, Dataset, load_silverbox
from ._data.silverbox import CONTEXT, LENGTH
from ._models import rivals, Still, subspace, warp
from ._run import count, Run
from ._systems import change, compare, draw, predictions
from ._tasks import Simulation
from .baselines import Model


STEP = 1 / LENGTH
STEPS = {"quick": 150, "paper": 20_000}
BATCH = {"quick": 16, "paper": 64}


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each, that do not see the time: a test lasts 160
    times as long as a training sequence.
    """
    warp_key, rival_key = jax.random.split(key)
    scale = change(data, 1)
    model = warp(
        2,
        1,
        length=LENGTH,
        scale=scale,
        transition=subspace,
        coordinates=Still(),
        key=warp_key,
    )
    others = rivals(
        2,
        1,
        length=LENGTH,
        scale=scale,
        parameters=count(model),
        coordinates=Still(),
        step=STEP,
        key=rival_key,
    )
    return {"WARP": model, **others}


def task(data: Dataset) -> Simulation:
    """Returns the simulation of the output, in millivolts, after its first samples."""
    assert data.scale is not None
    return Simulation(CONTEXT, scale=(float(data.scale[0]),), known=1, step=STEP)


def run(config: Rated) -> dict:
    """Simulate the output of Silverbox from its input, within and beyond the amplitude of
    the training data.
    """
    config, _ = resolve("silverbox", config)
    data = load_silverbox(data_folder(config.data))
    run, simulation = Run("silverbox", data.name, config), task(data)
    trained = compare(
        run,
        data,
        simulation,
        models(data, run.key("models")),
        steps=STEPS,
        batch=BATCH,
    )
    shown = data.validation.xs[0]
    draw(run, shown, predictions(simulation, trained, shown))
    return run.finish()
