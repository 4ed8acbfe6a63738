"""lorenz: forecasts of a chaotic system, on and off the attractor of the training."""

import jax

from . import _figures as figures
from ._config import Rated
from ._data import Dataset, make_lorenz
from ._data.lorenz import LENGTHS, SIZES
from ._run import Run
from ._systems import compare, contenders, draw, predictions
from ._tasks import Forecast
from .baselines import Model


# What is forecast lasts 1 unit of time, or the paper's 500 steps of 10 units.
CONTEXT = {"quick": 50, "paper": 500}
STEPS = {"quick": 400, "paper": 20_000}
BATCH = {"quick": 32, "paper": 64}


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Models of about 17 000 parameters each."""
    return contenders(data, key)


def run(config: Rated) -> dict:
    """Forecast the Lorenz system at its usual constants, and at others."""
    run = Run("lorenz", "lorenz", config)
    preset = run.config.preset
    data = make_lorenz(SIZES[preset], LENGTHS[preset])
    task = Forecast(CONTEXT[preset])
    trained = compare(
        run,
        data,
        task,
        models(data, run.key("models")),
        steps=STEPS,
        batch=BATCH,
    )
    shown = data.test.xs[0]
    predicted = predictions(task, trained, shown)
    draw(run, shown, predicted)
    sideways = {name: outputs[:, ::2] for name, outputs in predicted.items()}
    run.figure("attractor", figures.planes(shown[1:, ::2], sideways))
    return run.finish()
