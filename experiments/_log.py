"""progress -> what is seen of a run: `metrics.jsonl`, progress bars and the table."""

import json
import pathlib
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import warp_jax as wj

from ._folder import write_text


class Metrics:
    """`metrics.jsonl`: read back when a run goes on, and cut where it goes on from."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._before: float | None = None
        self.lines, broken = _lines(path)
        if broken:
            # A crash can cut the last line off, or leave zeros in its place.
            print(
                f"{path}: {broken} lines that are cut off are dropped", file=sys.stderr
            )
            self.write()

    def begin(self) -> None:
        """Says that a model begins, or goes on, with the next line."""
        self._before = None

    def add(self, model: str, progress: wj.Progress) -> None:
        """Writes a line; those that a killed run had written beyond it go."""
        if self._before is None:
            self.lines = [
                p
                for p in self.lines
                if p["model"] != model or p["step"] < progress.step
            ]
            self._before = self.seconds(model)
        line = {
            "model": model,
            "step": progress.step,
            "loss": progress.loss,
            "gradient_norm": progress.gradient_norm,
            "validation": progress.validation,
            "seconds": round(progress.seconds + self._before, 2),
        }
        self.lines.append(line)
        self.write()

    def write(self) -> None:
        """Replaces the file by `lines`."""
        write_text(self.path, "".join(json.dumps(p) + "\n" for p in self.lines))

    def seconds(self, model: str) -> float:
        lines = self.by_model().get(model)
        return lines[-1]["seconds"] if lines else 0.0

    def by_model(self) -> dict[str, list[dict]]:
        models: dict[str, list[dict]] = {}
        for line in self.lines:
            models.setdefault(line["model"], []).append(line)
        return models


def _lines(path: pathlib.Path) -> tuple[list[dict], int]:
    """Returns the lines of a file, and how many others there are."""
    if not path.exists():
        return [], 0
    lines, broken = [], 0
    for text in path.read_bytes().splitlines():
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError):
            broken += 1
    return lines, broken


# So many of a training are printed where there is no terminal; `metrics.jsonl` has all.
LINES = 4


class Reporter:
    """A progress bar on a terminal, a few plain lines elsewhere."""

    def __init__(self, console: Console, name: str, steps: int):
        self._bar, self._steps, self._printed = None, steps, 0
        self._name = name
        if console.is_terminal:
            self._bar = Progress(
                TextColumn(name),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[figures]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task("", total=steps, figures="compiling")

    def __enter__(self) -> "Reporter":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: wj.Progress) -> None:
        if self._bar is None:
            if (due := progress.step * LINES // self._steps) > self._printed:
                self._printed = due
                print(f"{self._name}: ", end="", file=sys.stderr)
                wj.print_progress(progress)
            return
        figures = f"loss {progress.loss:.4g}"
        if progress.validation is not None:
            figures += f"  validation {progress.validation:.4g}"
        self._bar.update(self._task, completed=progress.step, figures=figures)


def table(summary: dict, about: str = "") -> Table:
    """Lays the results out, one metric a column, short enough for 80 characters; the title
    ends with what they are `about`.
    """
    title = (
        f"{summary['experiment']}, preset {summary['preset']}, seed {summary['seed']}"
    )
    title += f": {about}" if about else ""
    names = list(dict.fromkeys(k for r in summary["results"] for k in r["metrics"]))
    shown = Table(title=title)
    shown.add_column("model")
    for name in (*names, "parameters", "state", "steps", "seconds"):
        shown.add_column(name, justify="right")
    for row in summary["results"]:
        figures = [row["metrics"].get(name) for name in names]
        shown.add_row(
            f"{row['model']} (diverged)" if "diverged" in row else row["model"],
            *("" if figure is None else f"{figure:.4g}" for figure in figures),
            *(
                f"{row[k]:,}" if row[k] else ""
                for k in ("parameters", "state_size", "steps")
            ),
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        )
    return shown


def write_json(path: pathlib.Path, value: dict) -> None:
    """Replaces a file by a value as JSON, in one move."""
    write_text(path, json.dumps(value, indent=2) + "\n")
