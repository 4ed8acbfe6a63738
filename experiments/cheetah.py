"""cheetah: forecasts of a simulated runner's joints, without its motors' commands."""

import jax

from ._config import Rated, resolve
from ._data import data_folder, Dataset, load_cheetah
from ._run import Run
from ._systems import compare, contenders, draw, predictions
from ._tasks import Forecast
from .baselines import Model


CONTEXT = 32
STEPS = {"quick": 200, "paper": 20_000}
BATCH = {"quick": 32, "paper": 128}


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Models of about 36 000 parameters each."""
    return contenders(data, key)


def run(config: Rated) -> dict:
    """Forecast 17 joints and speeds of a half-cheetah: 32 steps from 32."""
    config, _ = resolve("cheetah", config)
    data = load_cheetah(data_folder(config.data))
    run, task = Run("cheetah", data.name, config), Forecast(CONTEXT)
    trained = compare(
        run,
        data,
        task,
        models(data, run.key("models")),
        steps=STEPS,
        batch=BATCH,
    )
    shown = data.test.xs[0]
    draw(run, shown, predictions(task, trained, shown))
    return run.finish()
