"""classification: which structure of A tells time series apart, at equal D_θ."""

import dataclasses
from typing import Annotated

from . import _figures as figures
from ._classifiers import bounded_lrus, Candidates, DEFAULTS, Defaults, warps
from ._config import check_rates, Config, Flag, resolve
from ._data import data_folder, load_labelled
from ._rivals import CELLS, rival, state_size
from ._run import count, Run
from ._stronger import STRONGER, stronger
from ._tasks import PooledClassification
from ._trial import Trial
from .baselines import random_convolutions


CONVOLUTIONS = "random convolutions"
# Training sequences that these see: the regression on their features is in memory.
CONVOLVED = 10_000


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rates is not None:
            check_rates(self.learning_rates)


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
    run = Run("classification", data.name, config, names)
    wanted = [
        name
        for name in names
        if run.wants(name) and (name in defaults.quick or not quick)
    ]

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
    for name in wanted:
        if name == CONVOLUTIONS:
            continue
        asked, found = candidates(name)
        trials = [
            Trial(
                name=", ".join(filter(None, (name, label))),
                model=model,
                loss=asked.loss,
                batches=data.batches(batch, key=run.key("batches")),
                steps=config.steps or defaults.steps[config.preset],
                state_size=state_size(model),
                validate=asked.validate(validation),
                test=asked.test(test),
            ).at(config.learning_rates or defaults.rates)
            for label, model in found.items()
        ]
        run.attempt(name, [trial for rates in trials for trial in rates])
    if CONVOLUTIONS in wanted:
        seen = data.train.take(slice(CONVOLVED)).sequences()
        metrics, parameters = random_convolutions.classify(seen, test, config.seed)
        run.reference(CONVOLUTIONS, metrics, parameters=parameters)
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation error")
    )
    return run.finish()
