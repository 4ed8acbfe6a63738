"""classification: which structure of A tells time series apart, at equal D_θ."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated

from . import _figures as figures
from ._classifiers import bounded_lrus, Candidates, DEFAULTS, Defaults, warps
from ._config import check_rates, Config, Flag, resolve
from ._data import data_folder, load_labelled, with_validation
from ._refit import refitted, rows
from ._rivals import CELLS, rival, state_size
from ._run import Run
from ._sizes import count
from ._stronger import STRONGER, stronger
from ._tasks import PooledClassification
from ._trial import Trial
from .baselines import random_convolutions


CONVOLUTIONS = "random convolutions"
# Training sequences that these see: the regression on their features is in memory.
CONVOLVED = 10_000
# What a model is called that has learnt from validation data too.
REFIT = ", refit"


@dataclasses.dataclass(frozen=True)
class Options(Config):
    """What `classification` can be asked for."""

    dataset: str = "digits"
    """digits, which comes with scikit-learn; mnist or fashion-mnist, 784 steps of a pixel;
    or a name of the UEA archive: BasicMotions, JapaneseVowels, Libras, NATOPS, ..."""
    learning_rates: Annotated[tuple[float, ...] | None, Flag(metavar="[RATE ...]")] = (
        None
    )
    """Each is tried with each model; validation data chooses. By default 1e-3 3e-3 1e-2; of
    pictures 1e-2 alone."""
    refit: pathlib.Path | None = None
    """A finished run on the same data, with the same preset and seed, or a copy of its
    summary.json: what validation data chose there is trained anew, on validation data too,
    for as many steps, and tested after the last one. --learning-rates and --steps are those
    of that run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rates is not None:
            check_rates(self.learning_rates)
        if self.refit is not None and (self.learning_rates or self.steps):
            raise ValueError(
                "`--refit` takes `--learning-rates` and `--steps` from the run that it "
                "is given; leave them out."
            )


def run(config: Options) -> dict:
    """Classify the series of one data set, with a dense, a low-rank and a subspace A, and
    with rivals of as many parameters as the low-rank one: LRU by default, all of them with
    the paper preset or --models. Random convolutions and ridge regression are a reference.
    """
    config, _ = resolve("classification", config)
    data = load_labelled(config.dataset, data_folder(config.data))
    defaults = DEFAULTS.get(data.name, Defaults())
    validation, test = data.validation.sequences(), data.test.sequences()
    _, length, channels = validation.xs.shape
    sizes, key = (channels, data.classes), config.key("models")
    structures = warps(defaults, *sizes, length=length, preset=config.preset, key=key)
    task = PooledClassification(by_accuracy=True)
    budget = count(structures["low rank"][""])
    quick = config.preset == "quick" and not config.models
    lrus = {"LRU, bounded": 0.0, "LRU, dropout, bounded": defaults.dropout}
    names = (*structures, *CELLS, *lrus, *STRONGER, CONVOLUTIONS)
    there = names
    earlier = {}
    if config.refit is not None:
        about = "classification", data.name, config.preset, config.seed
        earlier = rows(config.refit, *about)
        there = tuple(name for name in names if name in earlier)
        if not there:
            raise ValueError(
                f"`--refit {config.refit}` has nothing to train again; it has "
                f"{'; '.join(earlier) or 'no model'}."
            )
        data = with_validation(data)
    elif quick:
        there = defaults.quick
    run = Run("classification", data.name, config, names)
    wanted = [name for name in names if run.wants(name) and name in there]

    def candidates(name: str) -> Candidates:
        if name in STRONGER:
            own = run.key("models", "stronger")
            return stronger(name, defaults, *sizes, length=length, key=own)
        if name in structures:
            return Candidates(task, structures[name])
        own = run.key("models", name)
        fitting = {"length": length, "parameters": budget, "key": own}
        if name in lrus:
            models = bounded_lrus(*sizes, dropout=lrus[name], **fitting)
            return Candidates(task, models)
        return Candidates(task, {"": rival(name, *sizes, **fitting)})

    batch = min(defaults.batch, len(data.train.labels))

    def trials(name: str, rates: Sequence[float], steps: int) -> list[Trial]:
        asked, found = candidates(name)
        every = (
            Trial(
                name=", ".join(filter(None, (name, label))),
                model=model,
                loss=asked.loss,
                batches=data.batches(batch, key=run.key("batches")),
                steps=steps,
                state_size=state_size(model),
                validate=asked.validate(validation),
                test=asked.test(test),
            )
            for label, model in found.items()
        )
        return [one for trial in every for one in trial.at(rates)]

    for name in wanted:
        if name == CONVOLUTIONS:
            continue
        if row := earlier.get(name):
            again = trials(name, (row["learning_rate"],), row["steps"])
            run.attempt(f"{name}{REFIT}", [refitted(again, row)])
            continue
        steps = config.steps or defaults.steps[config.preset]
        run.attempt(name, trials(name, config.learning_rates or defaults.rates, steps))
    if CONVOLUTIONS in wanted:
        seen = data.train.take(slice(CONVOLVED)).sequences()
        metrics, parameters = random_convolutions.classify(seen, test, config.seed)
        shown = CONVOLUTIONS + (REFIT if earlier else "")
        run.reference(shown, metrics, parameters=parameters)
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation error")
    )
    return run.finish()
