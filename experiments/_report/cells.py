"""keys of a marker, entries -> the cells and lines of a table."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from .._data.series import LEAKING
from . import figures
from .entries import better, CHOICE, chosen, Entry, Sample, SIZES, WHOLE


SHOWS = {"deviation": figures.mean, "spread": figures.spread}
SHOWS |= {"mean": lambda sample, digits: figures.number(sample.mean, digits)}


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one cell shows; the fields are the keys of `fill`."""

    metric: str
    experiment: str | None = None
    dataset: str | None = None
    preset: str | None = None
    task: str | None = None
    model: str | None = None
    models: list[str] | None = None
    datasets: list[str] | None = None
    aside: str | None = None
    over: dict[str, Any] | None = None
    show: str = "deviation"
    digits: int = 3
    root: bool = False
    scale: float = 1.0

    @classmethod
    def of(cls, keys: dict[str, Any]) -> "Cell":
        """Returns the cell that some keys describe.

        **Raises:** `ValueError` for keys that there are not, and values that cannot be.
        """
        _known(keys, {field.name for field in dataclasses.fields(cls)})
        if "metric" not in keys:
            raise ValueError(f"needs a `metric`; got {', '.join(keys)}")
        cell = cls(**keys)
        if cell.models is not None and (cell.model or cell.metric in SIZES):
            raise ValueError(
                "`models` are chosen among, so there is no `model`, and no metric that is "
                f"the size of one; got {cell.model!r} and {cell.metric!r}"
            )
        if cell.show not in SHOWS or cell.digits < 1:
            choices = ", ".join(SHOWS)
            raise ValueError(
                f"`show` is one of {choices}, and `digits` at least 1; got "
                f"{cell.show!r} and {cell.digits}"
            )
        return cell

    def entries(self, entries: Sequence[Entry]) -> list[Entry]:
        """Returns the entry that the cell chooses, one for each of its `datasets`; of
        several `models` what validation data would choose.
        """
        if self.datasets is not None:
            each = [
                dataclasses.replace(self, dataset=name, datasets=None)
                for name in self.datasets
            ]
            return [entry for cell in each for entry in cell.entries(entries)]
        if self.models is not None:
            each = [
                dataclasses.replace(self, model=name, models=None)
                for name in self.models
            ]
            return [chosen([cell.entries(entries)[0] for cell in each])]
        asked = {name: getattr(self, name) for name in CHOICE}
        asked = {name: value for name, value in asked.items() if value is not None}
        found = [
            entry
            for entry in entries
            if all(getattr(entry, name) == value for name, value in asked.items())
            and entry.sample(self.metric) is not None
        ]
        if len(found) != 1:
            said = ", ".join(f"{name} {value!r}" for name, value in asked.items())
            raise ValueError(
                f"{said} and metric {self.metric!r} need to choose one row of the runs; "
                f"they choose {len(found)}{_differences(found)}"
            )
        return found

    def sample(self, entries: Sequence[Entry]) -> Sample:
        """Returns the figures of the cell, by seed."""
        chosen = self.entries(entries)
        samples = [self._converted(entry.sample(self.metric)) for entry in chosen]
        if self.datasets is not None:
            return Sample((math.fsum(s.mean for s in samples) / len(samples),))
        if self.over is None:
            return samples[0]
        keys = {k: v for k, v in self._keys().items() if k != "over"} | self.over
        return Sample((samples[0].mean / Cell.of(keys).sample(entries).mean,))

    def text(self, entries: Sequence[Entry]) -> str:
        """Returns what the cell says."""
        if self.metric in SIZES and self.over is None and self.scale == 1:
            return figures.integer(self.sample(entries).mean)
        said = SHOWS[self.show](self.sample(entries), self.digits)
        if self.aside is None:
            return said
        aside = dataclasses.replace(self, metric=self.aside, aside=None)
        return f"{said} ({aside.text(entries)})"

    def rank(self, entries: Sequence[Entry]) -> float:
        """Returns the mean, negative where less is better, as it is shown."""
        shown = figures.number(self.sample(entries).mean, self.digits)
        return better(self.metric) * float(shown.replace(" ", ""))

    def _keys(self) -> dict[str, Any]:
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: value for name, value in fields if value is not None}

    def _converted(self, sample: Sample | None) -> Sample:
        assert sample is not None
        power = 0.5 if self.root else 1.0
        return Sample(tuple(self.scale * value**power for value in sample.values))


@dataclasses.dataclass(frozen=True)
class Table:
    """What a table shows: the fields are keys of `fill`, `shared` those of its cells."""

    columns: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    labels: list[str]
    best: str
    shared: dict[str, Any]

    @classmethod
    def of(cls, keys: dict[str, Any]) -> "Table":
        """Returns the table that some keys describe.

        **Raises:** `ValueError` for keys that cannot be.
        """
        shared = dict(keys)
        columns, rows = shared.pop("columns", []), shared.pop("rows", [])
        labels, best = shared.pop("labels", ["model"]), shared.pop("best", "column")
        rows: list[dict[str, Any]] = [
            {"model": r, "label": r} if isinstance(r, str) else r for r in rows
        ]
        if not columns or not rows:
            raise ValueError("a table needs `columns` and `rows`")
        for value in (*columns, *rows):
            if not isinstance(value, dict):
                raise ValueError(f"a column or a row needs keys; got {value!r}")
        if best not in ("column", "row", "none"):
            raise ValueError(f"`best` is column, row or none; got {best!r}")
        titles = {column["title"] for column in columns}
        for row in rows:
            _known(row.get("cells", {}), titles)
            if len(_labels(row)) != len(labels):
                raise ValueError(
                    f"the row {row!r} needs {len(labels)} labels, as the table has"
                )
        return cls(columns, rows, labels, best, shared)

    def lines(self, entries: Sequence[Entry]) -> str:
        """Returns the table in Markdown, and a line on the seeds in it."""
        grid = self.grid(entries)
        top = self._best(grid, entries)
        titles = [column["title"] for column in self.columns]
        titles = [*self.labels, *titles]
        made = [_line(titles), "|---" * len(titles) + "|"]
        for i, (row, cells) in enumerate(zip(self.rows, grid)):
            texts = [c if isinstance(c, str) else c.text(entries) for c in cells]
            bold = [f"**{t}**" if (i, j) in top else t for j, t in enumerate(texts)]
            made.append(_line([*_labels(row), *bold]))
        shown = [cell for cells in grid for cell in cells if isinstance(cell, Cell)]
        return "\n".join([*made, "", _seeds(shown, entries)])

    def grid(self, entries: Sequence[Entry]) -> list[list[Cell | str]]:
        """Returns the cells, row by row.

        **Raises:** `ValueError` where a figure of data that leaks is not marked as such.
        """
        titles = [column["title"] for column in self.columns]
        grid = []
        for row in self.rows:
            cells = [self._cell(row, column) for column in self.columns]
            _honest(_labels(row), titles, cells, entries)
            grid.append(cells)
        return grid

    def _cell(self, row: dict[str, Any], column: dict[str, Any]) -> Cell | str:
        own = row.get("cells", {}).get(column["title"], {})
        if isinstance(own, str):
            return own
        keys = self.shared | column | row | own
        return Cell.of(
            {k: v for k, v in keys.items() if k not in ("title", "label", "cells")}
        )

    def _best(
        self, grid: list[list[Cell | str]], entries: Sequence[Entry]
    ) -> set[tuple[int, int]]:
        """Returns the places of the best cells, of those that compare."""
        groups: dict[tuple, list[tuple[float, tuple[int, int]]]] = {}
        for i, cells in enumerate(grid):
            for j, cell in enumerate(cells):
                if isinstance(cell, str) or not better(cell.metric):
                    continue
                task = cell.experiment, cell.dataset, cell.task
                group = (i, cell.metric) if self.best == "row" else (j, *task)
                groups.setdefault(group, []).append((cell.rank(entries), (i, j)))
        if self.best == "none":
            return set()
        return {
            place
            for ranks in groups.values()
            if len(ranks) > 1
            for rank, place in ranks
            if rank == max(r for r, _ in ranks)
        }


def _honest(
    labels: Sequence[str],
    titles: Sequence[str],
    cells: Sequence[Cell | str],
    entries: Sequence[Entry],
) -> None:
    """Raises `ValueError` where a figure of data that leaks is not marked as such."""
    for title, cell in zip(titles, cells):
        chosen = [] if isinstance(cell, str) else cell.entries(entries)
        leaks = any(LEAKING in entry.dataset for entry in chosen)
        if leaks and LEAKING not in " ".join([*labels, title]):
            raise ValueError(
                f"the data set {chosen[0].dataset!r} leaks, so the label of its row or the "
                f"title of its column needs to say {LEAKING!r}; got {labels} and {title!r}"
            )


def _labels(row: dict[str, Any]) -> list[str]:
    label = row.get("label", row.get("model", ""))
    return [label] if isinstance(label, str) else label


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _seeds(cells: Sequence[Cell], entries: Sequence[Entry]) -> str:
    """Returns a line that says which seeds are shown, and how."""
    by_seeds: dict[tuple[int, ...], dict[str, None]] = {}
    for cell in cells:
        for entry in cell.entries(entries):
            same = entry.dataset == entry.experiment
            name = entry.experiment if same else f"{entry.experiment} {entry.dataset}"
            by_seeds.setdefault(entry.seeds, {})[name] = None
    shows = {cell.show for cell in cells}
    several = any(len(seeds) > 1 for seeds in by_seeds)
    said = "; ".join(
        (f"{', '.join(names)}: " if len(by_seeds) > 1 else "") + _listed(seeds)
        for seeds, names in by_seeds.items()
    )
    how = {"deviation": "mean ± standard deviation", "spread": "mean (median; range)"}
    how["mean"] = "mean"
    shown = [how[show] for show in how if show in shows and several]
    shown = shown[:1] if len(shown) > 1 and shown[-1] == "mean" else shown
    said = said if len(by_seeds) > 1 else said.capitalize()
    return f"*{said}{': ' if shown else ''}{', '.join(shown)}.*"


def _listed(seeds: tuple[int, ...]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]} alone"
    return f"seeds {', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"


def _known(keys: dict[str, Any], names: set[str]) -> None:
    if unknown := set(keys) - names:
        there = ", ".join(sorted(names))
        raise ValueError(f"knows no {', '.join(sorted(unknown))}; there are {there}")


def _differences(found: Sequence[Entry]) -> str:
    """Returns which names tell the entries apart that should have been one."""
    names = (*CHOICE, *WHOLE)
    values = {name: {str(getattr(entry, name)) for entry in found} for name in names}
    said = [f"{k}: {', '.join(sorted(v))}" for k, v in values.items() if len(v) > 1]
    return f" ({'; '.join(said)})" if said else ""
