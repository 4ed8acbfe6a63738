"""forecasting: what follows in a long series, channel by channel, past ridge regression."""

import csv
import dataclasses
import io
from typing import Annotated, Any

import numpy as np

from . import _figures as figures
from ._config import Flag, Rated, resolve
from ._data import data_folder, Dataset, Gathered, load_series, Series, Split
from ._folder import write_text
from ._forecasters import candidates
from ._rivals import CELLS, state_size
from ._run import Run
from ._trial import Trial
from ._windows import (
    DirectForecast,
    LeakingForecast,
    less,
    Linear,
    LinearForecast,
    repeat_last,
)
from .baselines import fit_ridge


# Steps given and steps to forecast; of other series 96 and 96.
STEPS_OF = {"METR-LA": (12, 12), "PEMS08": (12, 12)}
USUAL = 96, 96
STEPS = {"quick": 1000, "paper": 10_000}
SEQUENCES = 256
# Validation windows that choose, evenly over the whole part.
CHOOSING = 256
# What is asked of a model, and the forecast that it corrects.
Kind = tuple[DirectForecast, Linear]


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `forecasting` can be asked for."""

    dataset: str = "ETTh1"
    """ETTh1, ETTh2, ETTm1, ETTm2, METR-LA, PEMS08; or a file of your own: .csv with a line
    of names, or .npz with one array (rows, channels)."""
    target: Annotated[tuple[str, ...], Flag(metavar="[COLUMN ...]")] = ()
    """Columns to forecast; the others are not read. By default all."""
    context: int | None = None
    """Steps given. By default 96; of METR-LA and PEMS08 12."""
    horizon: int | None = None
    """Steps to forecast. By default as many."""
    carry: bool = False
    """Fill a missing cell of a .csv file with the one before it."""
    leaking: bool = False
    """Give models the horizon too, as the released traffic code does. Not a forecast."""


def run(config: Options) -> dict:
    """Forecast a series: by ridge regression, by DLinear, and by models that correct the
    ridge; rivals with the paper preset or --models alone, for they take ten times as long.

    `forecast.csv` has what follows after its end, by the model of the least validation
    error.
    """
    config, _ = resolve("forecasting", config)
    folder = data_folder(config.data)
    options = {"target": config.target, "carry": config.carry}
    series = load_series(config.dataset, folder, **options, alone=True)
    usual = STEPS_OF.get(config.dataset, USUAL)
    context = usual[0] if config.context is None else config.context
    steps = context, usual[1] if config.horizon is None else config.horizon
    data = (series.leaking_windows if config.leaking else series.windows)(*steps)
    scale = tuple(series.scale.tolist())
    direct = (LeakingForecast if config.leaking else DirectForecast)(context, scale)
    last = repeat_last(steps[1])
    ridge = fit_ridge(*_cut(data.train, context), _cut(data.validation, context))
    kinds: dict[str, Kind] = {
        "WARP": (direct, ridge),
        "WARP, alone": (direct, last),
        "DLinear": (LinearForecast(context, scale), last),
        **{name: (direct, ridge) for name in CELLS},
    }
    run = Run("forecasting", data.name, config, kinds)
    quick = config.preset == "quick" and not config.models
    trained = {
        name: _train(run, name, kind, data, steps)
        for name, kind in kinds.items()
        if run.wants(name) and not (quick and name in CELLS)
    }
    for name, linear in {"ridge": ridge, "last value": last}.items():
        errors = less(data.test, context, linear).xs[:, context:]
        run.reference(name, direct.metrics(errors))
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation MSE")
    )
    if trained and not config.leaking:
        best = min(run.results[: len(trained)], key=lambda row: row["validation"])
        _continue(run, series, steps, kinds[best["model"]], trained[best["model"]])
    return run.finish()


def _cut(split: Split, context: int) -> tuple[np.ndarray, np.ndarray]:
    return split.xs[:, :context], split.xs[:, context:]


def _train(
    run: Run, name: str, kind: Kind, data: Dataset, steps: tuple[int, int]
) -> Any:
    """Trains one model with a share of windows that makes about as many sequences a step
    for any number of channels, and tests it.
    """
    (task, linear), (context, _) = kind, steps
    config = run.config
    assert isinstance(config, Options)
    train, channels = data.train, data.train.xs.shape[2]
    size = max(1, min(SEQUENCES // channels, len(train.xs)))
    every = max(1, len(data.validation.xs) // CHOOSING)
    chosen = data.validation.take(slice(None, None, every))
    found = candidates(name, steps, run.key("models", name))
    # As many trials for all.
    rates = config.learning_rates
    if len(found) == 1:
        rates = (*rates, *(rate / 10 for rate in rates))
    trials = [
        trial
        for label, model in found.items()
        for trial in Trial(
            name=label,
            model=model,
            loss=task.loss,
            batches=Gathered(
                lambda which: less(train.take(which), context, linear),
                len(train.xs),
                size,
                key=run.key("batches"),
            ),
            steps=config.steps or STEPS[config.preset],
            state_size=state_size(model),
            validate=task.validate(less(chosen, context, linear)),
            test=lambda model: task.test(less(data.test, context, linear))(model),
        ).at(rates)
    ]
    return run.choose(name, trials)


def _continue(
    run: Run, series: Series, steps: tuple[int, int], kind: Kind, model: Any
) -> None:
    """Writes what follows the end of the series, in its own units."""
    (task, linear), (context, horizon) = kind, steps
    window = series.rows[None, -context:]
    nothing = np.zeros((1, horizon, window.shape[2]), window.dtype)
    known = np.concatenate([window, linear(window) + nothing], axis=1)
    split = Split(known, np.zeros(1, np.int32))
    ahead = (
        known[0, context:] + task.errors(model, less(split, context, linear))[..., 0].T
    )
    values = series.centre + series.scale * ahead
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["step", *series.names])
    writer.writerows([step + 1, *row] for step, row in enumerate(values.tolist()))
    write_text(run.folder / "forecast.csv", stream.getvalue())
