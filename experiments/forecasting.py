"""forecasting: what follows in a long series, channel by channel, past ridge regression."""

import dataclasses
from typing import Annotated, Any

import numpy as np

from . import _figures as figures
from ._config import Flag, Rated, resolve
from ._continue import follow, Forecast
from ._data import data_folder, Dataset, Gathered, load_series, Split
from ._forecasters import candidates
from ._rivals import CELLS, state_size
from ._run import Run
from ._trial import Trial
from ._windows import (
    corrected,
    DirectForecast,
    LeakingForecast,
    less,
    Linear,
    LinearForecast,
)
from .baselines import find_season, fit_ridge, repeat


# Steps given and steps to forecast; of other series 96 and 96.
STEPS_OF = {"METR-LA": (12, 12), "PEMS08": (12, 12)}
USUAL = 96, 96
STEPS = {"quick": 1000, "paper": 10_000}
SEQUENCES = 256
# Validation windows that choose, evenly over the whole part.
CHOOSING = 256
# What is asked of a model, and the forecast that it corrects.
Kind = tuple[DirectForecast, Linear]
ABOUT = {
    **dict.fromkeys(("WARP", *CELLS), "corrects ridge"),
    "WARP, alone": "corrects the last value",
    "DLinear": "two linear maps of the window, trained",
    "ridge": "linear regression on the window",
    "last value": "repeated",
}
SEASONAL = "the last season repeated, as the training rows tell it"


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `forecasting` can be asked for."""

    models: Annotated[
        tuple[str, ...],
        Flag(
            metavar="[NAME ...]",
            help="Train only these models, or those whose names contain this: WARP, which "
            "corrects a ridge regression; 'WARP, alone', which corrects the last value; "
            f"DLinear; and rivals, which correct the ridge: {', '.join(CELLS)}. By default "
            "the first three, and with --preset paper all.",
        ),
    ] = ()
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
    """Forecast a series: by ridge regression, by DLinear, by the last value or season, and
    by models that correct the ridge; rivals with the paper preset or --models alone, for
    they take ten times as long.

    `forecast.csv` has what follows after its end, by whichever of them has the least
    validation error.
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
    last = repeat(1, steps[1])
    ridge = fit_ridge(*_cut(data.train, context), _cut(data.validation, context))
    kinds: dict[str, Kind] = {
        "WARP": (direct, ridge),
        "WARP, alone": (direct, last),
        "DLinear": (LinearForecast(context, scale), last),
        **{name: (direct, ridge) for name in CELLS},
    }
    untrained: dict[str, Linear] = {"ridge": ridge, "last value": last}
    if (season := find_season(series.train, *steps)) > 1:
        untrained[f"seasonal naive, {season} steps"] = repeat(season, steps[1])
    run = Run("forecasting", data.name, config, (*kinds, *untrained))
    for note in series.dates.notes if series.dates else ():
        run.say(note)
    chosen = data.validation.take(
        slice(None, None, max(1, len(data.validation.xs) // CHOOSING))
    )
    quick = config.preset == "quick" and not config.models
    found: list[Forecast] = []
    for name, (task, linear) in kinds.items():
        if run.wants(name) and not (quick and name in CELLS):
            model = _train(run, name, (task, linear), data, chosen, steps)
            validation = run.results[-1]["validation"]
            found.append(Forecast(name, validation, corrected(task, linear, model)))
    for name, linear in untrained.items():
        tested, tried = (
            less(split, context, linear).xs[:, context:]
            for split in (data.test, chosen)
        )
        validation = float(np.mean(tried**2))
        run.reference(name, direct.metrics(tested), validation=validation)
        found.append(Forecast(name, validation, linear))
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation MSE")
    )
    names = [forecast.name for forecast in found]
    said = "; ".join(f"{name}: {ABOUT.get(name, SEASONAL)}" for name in names)
    run.say(f"{said}. Errors but those in units are in the training rows' deviations.")
    if config.leaking:
        return run.finish()
    return follow(run, series, steps, found)


def _cut(split: Split, context: int) -> tuple[np.ndarray, np.ndarray]:
    return split.xs[:, :context], split.xs[:, context:]


def _train(
    run: Run,
    name: str,
    kind: Kind,
    data: Dataset,
    chosen: Split,
    steps: tuple[int, int],
) -> Any:
    """Trains one model with a share of windows that makes about as many sequences a step
    for any number of channels, and tests it.

    - `chosen`: windows of the validation part.
    """
    (task, linear), (context, _) = kind, steps
    config = run.config
    assert isinstance(config, Options)
    train, channels = data.train, data.train.xs.shape[2]
    size = max(1, min(SEQUENCES // channels, len(train.xs)))
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
