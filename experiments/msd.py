"""msd: forecasts of mass-spring-dampers with unknown mass, stiffness and damping."""

from collections.abc import Callable

import jax
import numpy as np

from . import _figures as figures
from ._config import Rated
from ._data import Dataset, make_msd
from ._data.msd import LENGTHS, SIZES
from ._run import Run
from ._systems import compare, contenders, draw
from ._tasks import Forecast
from .baselines import Model


# As many as 100 of 256 steps.
CONTEXT = {"quick": 25, "paper": 100}
STEPS = {"quick": 400, "paper": 20_000}
BATCH = {"quick": 32, "paper": 1024}


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each."""
    return contenders(data, key)


def run(config: Rated) -> dict:
    """Forecast mass-spring-dampers, from (1, 0), in and out of the training range."""
    return forecast("msd", make_msd, SIZES, config)


def forecast(name: str, make: Callable, sizes: dict, config: Rated) -> dict:
    """Runs the experiment `name` on the data that `make(sizes, length)` gives."""
    run = Run(name, name, config)
    preset = run.config.preset
    data = make(sizes[preset], LENGTHS[preset])
    assert data.scale is not None
    task = Forecast(CONTEXT[preset], scale=tuple(data.scale.tolist()))
    trained = compare(
        run,
        data,
        task,
        models(data, preset, run.key("models")),
        steps=STEPS[preset],
        batch=BATCH[preset],
    )
    shown = data.test.xs[0]
    predictions = draw(run, task, trained, shown)
    in_units = {k: np.asarray(v) * data.scale for k, v in predictions.items()}
    run.figure("phase_plane", figures.planes(shown[1:] * data.scale, in_units))
    return run.finish()
