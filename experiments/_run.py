"""trials -> a run folder: the one place that trains, resumes and writes results.

config.json          what was asked for
metrics.jsonl        one line for each report of each model, as it goes
summary.json         the results, when all is done
figures/             *.png
checkpoints/MODEL/   for --resume
models/MODEL.eqx     the chosen models
"""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import warp_jax as wj

from ._config import Config, resolve


@dataclasses.dataclass(frozen=True)
class Trial:
    """One model to train and to test.

    - `name`: unique in its experiment.
    - `model`, `loss`, `batches`, `steps`: as for `warp_jax.fit`.
    - `state_size`: numbers in the state.
    - `validate`: `model -> figure`, the lower the better: it alone chooses the model.
    - `test`: `model -> metrics`, called once, on the chosen model.
    - `learning_rate`: the peak of a cosine schedule with warm-up.
    - `weight_decay`: of AdamW.
    """

    name: str
    model: Any
    loss: Callable
    batches: Callable[[int], Any]
    steps: int
    state_size: int
    validate: Callable[[Any], float]
    test: Callable[[Any], dict[str, float]]
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW, the gradient clipped to norm 1, a cosine after 5 % of warm-up."""
        warmup = max(1, self.steps // 20)
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, warmup, max(self.steps, warmup + 1)
        )
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, weight_decay=self.weight_decay),
        )


class Run:
    """A run folder that is being filled.

    Opened anew or resumed; `train` skips what is finished and continues what is not, so a
    run that was killed at any moment ends with the numbers of one that was not.
    """

    def __init__(self, experiment: str, dataset: str, config: Config):
        self.config, self.folder = resolve(experiment, config)
        self.experiment, self.dataset = experiment, dataset
        self.console = Console(stderr=True)
        self.results: list[dict] = []
        self._metrics = _Metrics(self.folder / "metrics.jsonl")
        try:
            for name in ("figures", "checkpoints", "models"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            if config.resume is None:
                written = {"experiment": experiment, **self.config.dump()}
                _write_json(self.folder / "config.json", written)
        except OSError as error:
            raise ValueError(
                f"`--out {self.folder}` cannot be written: {error.strerror}. Choose "
                "another folder."
            ) from error

    def key(self, *names: str) -> jax.Array:
        """Returns a random key that depends on the seed and on `names` alone."""
        key = jr.key(self.config.seed)
        for letter in "/".join(names).encode():
            key = jr.fold_in(key, letter)
        return key

    def wants(self, name: str) -> bool:
        """Whether `--models` asks for the model."""
        chosen = self.config.models
        return not chosen or any(part.lower() in name.lower() for part in chosen)

    def train(self, trial: Trial) -> Any:
        """Trains and tests one model, or takes it from the folder; returns it."""
        result_path = self.folder / "models" / f"{trial.slug}.json"
        model_path = self.folder / "models" / f"{trial.slug}.eqx"
        if result_path.exists():
            self.results.append(json.loads(result_path.read_text()))
            return wj.load(model_path, trial.model)
        self._metrics.begin()
        with _Reporter(self.console, trial) as reporter:

            def report(progress: wj.Progress) -> None:
                reporter.show(progress)
                self._metrics.add(trial.name, progress)

            model, history = wj.fit(
                trial.model,
                trial.loss,
                trial.batches,
                trial.optimizer(),
                steps=trial.steps,
                key=self.key(trial.name, "fit"),
                validate=trial.validate,
                every=max(1, trial.steps // 20),
                checkpoint=self.folder / "checkpoints" / trial.slug,
                resume=True,
                report=report,
            )
        wj.save(model_path, model)
        result = {
            "model": trial.name,
            "metrics": {k: float(v) for k, v in trial.test(model).items()},
            "validation": dict(history.validation)[history.best_step],
            "parameters": count(model),
            "state_size": trial.state_size,
            "steps": trial.steps,
            "best_step": history.best_step,
            "learning_rate": trial.learning_rate,
            "seconds": round(self._metrics.seconds(trial.name), 1),
            **trial.notes,
        }
        _write_json(result_path, result)
        self.results.append(result)
        return model

    def reference(self, name: str, metrics: dict[str, float]) -> None:
        """Adds a row for something that is not trained."""
        self.results.append(
            {
                "model": name,
                "metrics": {k: float(v) for k, v in metrics.items()},
                "parameters": 0,
                "state_size": 0,
                "steps": 0,
            }
        )

    def figure(self, name: str, figure) -> None:
        """Writes a figure of matplotlib as PNG."""
        figure.savefig(self.folder / "figures" / f"{name}.png", dpi=150)

    def curves(self) -> dict[str, list[dict]]:
        """Returns the lines of `metrics.jsonl` by model."""
        return self._metrics.by_model()

    def finish(self) -> dict:
        """Writes `summary.json`, prints the table, and returns the summary."""
        summary = {
            "experiment": self.experiment,
            "dataset": self.dataset,
            "preset": self.config.preset,
            "seed": self.config.seed,
            "seconds": round(sum(r.get("seconds", 0) for r in self.results), 1),
            "results": self.results,
            "versions": _versions(),
        }
        _write_json(self.folder / "summary.json", summary)
        # Off a terminal rich would assume 80 columns, too few for every metric.
        width = None if sys.stdout.isatty() else 150
        Console(width=width).print(_table(summary))
        self.console.print(f"Written to {self.folder}", soft_wrap=True, highlight=False)
        return summary


class _Metrics:
    """`metrics.jsonl`: read back when a run goes on, and cut where it goes on from."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.lines: list[dict] = []
        self._before: float | None = None
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    break  # A kill can cut the last line off.

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
            lines = self.by_model().get(model)
            self._before = lines[-1]["seconds"] if lines else 0.0
        line = {
            "model": model,
            "step": progress.step,
            "loss": progress.loss,
            "gradient_norm": progress.gradient_norm,
            "validation": progress.validation,
            "seconds": round(progress.seconds + self._before, 2),
        }
        self.lines.append(line)
        _write_text(self.path, "".join(json.dumps(p) + "\n" for p in self.lines))

    def seconds(self, model: str) -> float:
        return self.by_model()[model][-1]["seconds"]

    def by_model(self) -> dict[str, list[dict]]:
        models: dict[str, list[dict]] = {}
        for line in self.lines:
            models.setdefault(line["model"], []).append(line)
        return models


class _Reporter:
    """A progress bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, trial: Trial):
        self._bar = None
        self._name = trial.name
        if console.is_terminal:
            self._bar = Progress(
                TextColumn(trial.name),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[figures]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task("", total=trial.steps, figures="compiling")

    def __enter__(self) -> "_Reporter":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: wj.Progress) -> None:
        if self._bar is None:
            print(f"{self._name}: ", end="", file=sys.stderr)
            wj.print_progress(progress)
            return
        figures = f"loss {progress.loss:.4g}  validation {progress.validation:.4g}"
        self._bar.update(self._task, completed=progress.step, figures=figures)


def count(model) -> int:
    """Returns how many trained numbers a model has."""
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return sum(leaf.size for leaf in leaves)


def batched(function: Callable, *arrays: np.ndarray, size: int = 256):
    """Returns `function(*arrays)` computed in pieces of at most `size` examples."""
    pieces = [
        function(*(array[i : i + size] for array in arrays))
        for i in range(0, len(arrays[0]), size)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def _table(summary: dict) -> Table:
    """Lays the results out, one metric a column, short enough for 80 characters."""
    title = (
        f"{summary['experiment']}, preset {summary['preset']}, seed {summary['seed']}"
    )
    names = list(dict.fromkeys(k for r in summary["results"] for k in r["metrics"]))
    table = Table(title=title)
    table.add_column("model")
    for name in (*names, "parameters", "state", "steps", "seconds"):
        table.add_column(name, justify="right")
    for row in summary["results"]:
        figures = [row["metrics"].get(name) for name in names]
        table.add_row(
            row["model"],
            *("" if figure is None else f"{figure:.4g}" for figure in figures),
            *(
                f"{row[k]:,}" if row[k] else ""
                for k in ("parameters", "state_size", "steps")
            ),
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        )
    return table


def _versions() -> dict[str, str]:
    packages = ("warp_jax", "jax", "equinox", "optax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **versions}


def _write_json(path: pathlib.Path, value: dict) -> None:
    _write_text(path, json.dumps(value, indent=2) + "\n")


def _write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one move, so that a kill leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    os.replace(temporary, path)
