"""cheetah: forecasts of a simulated runner's joints, without its motors' commands."""

import jax
import jax.random as jr

from ._config import Rated, resolve
from ._data import data_folder, Dataset, load_cheetah
from ._fitted import corrections, Fitted, linear
from ._free_run import FreeRun
from ._run import Run
from ._sizes import count
from ._systems import compare, contenders, draw, predictions
from .baselines import Model


CONTEXT = 32
HORIZONS = 1, 4, 16, 32
STEPS = {"quick": 300, "paper": 4000}
BATCH = {"quick": 32, "paper": 128}


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Models of about 50 000 parameters each."""
    key, corrected_key = jr.split(key)
    made = contenders(data, key)
    _, length, channels = data.train.xs.shape
    fit = Fitted(linear, data.train.xs, channels)
    corrected = corrections(
        fit,
        channels,
        length=length,
        parameters=count(made["WARP"]),
        key=corrected_key,
    )
    return made | {f"{n}, linear plus correction": m for n, m in corrected.items()}


def task() -> FreeRun:
    """Returns the forecast of all channels from the first steps.

    In two of the five validation traces the runner falls over, far outside the training
    range. They make up nearly all of the mean, so the median chooses.
    """
    return FreeRun(CONTEXT, horizons=HORIZONS, chosen_by="forecast_mse_median")


def run(config: Rated) -> dict:
    """Forecast 17 joints and speeds of a half-cheetah: 32 steps from 32."""
    config, _ = resolve("cheetah", config)
    data = load_cheetah(data_folder(config.data))
    made, forecast = models(data, config.key("models")), task()
    run = Run("cheetah", data.name, config, made)
    trained = compare(run, data, forecast, made, steps=STEPS, batch=BATCH)
    shown = data.test.xs[0]
    draw(run, shown, predictions(forecast, trained, shown))
    return run.finish()
