"""records -> entries: the rows of all seeds that are about the same, joined."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from .records import Record


# What an entry is about, and the whole numbers beside its metrics.
CHOICE = ("experiment", "dataset", "preset", "task", "model")
WHOLE = ("parameters", "state_size", "steps")
# Sizes, those that runs of before do not tell too.
SIZES = (*WHOLE, "transition_parameters")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One figure, by seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample, n - 1 in its denominator."""
        if len(self.values) < 2:
            return None
        finite = all(map(math.isfinite, self.values))
        return statistics.stdev(self.values) if finite else math.nan

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    @property
    def varies(self) -> bool:
        """Whether values differ by more than a machine's rounding."""
        first = self.values[0]
        return not all(math.isclose(v, first, rel_tol=1e-7) for v in self.values[1:])


@dataclasses.dataclass(frozen=True)
class Entry:
    """What all runs say of one model on one task.

    - `task`: what the row is about, within its experiment; empty where there is one task.
        Of a row with a `probe` it is that, else what stands before the colon in its name.
    - `parameters`, `state_size`, `steps`: zero where nothing is trained.
    - `metrics`: of the test set.
    - `search`: what is known beside, as `SEARCH` says.
    """

    experiment: str
    dataset: str
    preset: str
    task: str
    model: str
    parameters: int
    state_size: int
    steps: int
    seeds: tuple[int, ...]
    metrics: dict[str, Sample]
    search: dict[str, Sample]

    def sample(self, name: str) -> Sample | None:
        """Returns the figure of a name, whichever kind it is."""
        if name in WHOLE:
            return Sample((getattr(self, name),))
        return self.metrics.get(name, self.search.get(name))


SEARCH = ("validation", "learning_rate", "seconds", "transition_parameters")


def joined(records: Sequence[Record]) -> list[Entry]:
    """Returns the rows of all records, one entry for those that differ by seed alone, in
    the order of their first appearance. Rows of other sizes or budgets stay apart, and
    models that diverged have no entry.

    **Raises:** `ValueError` where two runs have the same row with the same seed.
    """
    groups: dict[tuple, dict[int, tuple[Record, dict]]] = {}
    for record in records:
        for row in filter(lambda row: "diverged" not in row, record.results):
            about = record.experiment, record.dataset, record.preset, *_named(row)
            key = *about, *(row[name] for name in WHOLE)
            rows = groups.setdefault(key, {})
            if record.seed in rows:
                first = rows[record.seed][0].path
                raise ValueError(
                    f"{first} and {record.path} both hold {row['model']!r} of "
                    f"{record.experiment!r}, seed {record.seed}. Give one of them: a seed "
                    "counts once."
                )
            rows[record.seed] = record, row
    return [_entry(key, rows) for key, rows in groups.items()]


def _named(row: dict) -> tuple[str, str]:
    """Returns the task and the model of a row."""
    task, _, model = row["model"].rpartition(": ")
    return row.get("probe", task), model


def _entry(key: tuple, groups: dict[int, tuple[Record, dict]]) -> Entry:
    seeds = tuple(sorted(groups))
    rows = [groups[seed][1] for seed in seeds]
    return Entry(
        **dict(zip((*CHOICE, *WHOLE), key)),
        seeds=seeds,
        metrics=_samples([row["metrics"] for row in rows]),
        search=_samples([{k: row[k] for k in SEARCH if k in row} for row in rows]),
    )


def _samples(rows: list[dict[str, float]]) -> dict[str, Sample]:
    """Returns the figures that all seeds have: a mean over fewer would not say so."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: Sample(tuple(float(row[name]) for row in rows)) for name in names}


def chosen(entries: Sequence[Entry]) -> Entry:
    """Returns what is there if validation data chooses among several models: of each seed
    that all have, the figures of the one with the least `validation`, of equal ones the
    first. Sizes are those of no one model: zero.

    **Raises:** `ValueError` where no seed is common, or a model was not validated.
    """
    common = sorted(set.intersection(*(set(entry.seeds) for entry in entries)))
    names = [entry.model for entry in entries]
    if not common or any("validation" not in entry.search for entry in entries):
        raise ValueError(
            f"to choose among {', '.join(names)} takes a seed that all have, and a "
            "`validation` of each"
        )

    def of(entry: Entry, name: str, seed: int) -> float:
        figures = (entry.metrics | entry.search)[name]
        return figures.values[entry.seeds.index(seed)]

    best = {s: min(entries, key=lambda e: of(e, "validation", s)) for s in common}

    def samples(kind: str) -> dict[str, Sample]:
        first, *others = (getattr(entry, kind) for entry in entries)
        every = [name for name in first if all(name in other for other in others)]
        return {n: Sample(tuple(of(best[s], n, s) for s in common)) for n in every}

    return dataclasses.replace(
        entries[0],
        model=" or ".join(names),
        **dict.fromkeys(WHOLE, 0),
        seeds=tuple(common),
        metrics=samples("metrics"),
        search=samples("search"),
    )


def better(metric: str) -> int:
    """Returns 1 where more is better, -1 where less is, and 0 where neither is known."""
    words = set(metric.split("_"))
    if words & {"accuracy"}:
        return 1
    # `validation` is whatever is minimised.
    if words & {"mse", "rmse", "mae", "nll", "bits", "error", "validation"}:
        return -1
    return 0


def shown_together(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Parts entries into tables: those that share a metric, directly or through others."""
    tables: list[tuple[set[str], list[int]]] = []
    for i, entry in enumerate(entries):
        names, rows = set(entry.metrics), [i]
        apart = []
        for table in tables:
            if table[0] & names:
                names, rows = names | table[0], table[1] + rows
            else:
                apart.append(table)
        tables = [*apart, (names, rows)]
    parts = sorted(sorted(rows) for _, rows in tables)
    return [[entries[i] for i in rows] for rows in parts]
