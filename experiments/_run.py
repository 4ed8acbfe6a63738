"""trials -> a run folder: the one place that trains, resumes and writes results.

config.json          what was asked for
metrics.jsonl        one line for each report of each model, as it goes
summary.json         the results, when all is done
figures/             *.png
weights.npz          a network's weights as sequences pass, of some experiments
checkpoints/MODEL/   for --resume
models/MODEL.eqx     the chosen models
.lock                who has the folder
"""

import contextlib
import importlib.metadata
import io
import json
import platform
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from rich.console import Console

import warp_jax as wj

from ._config import Config, refuse_used, resolve
from ._folder import Lock, sweep, write
from ._log import Metrics, Reporter, table, write_json
from ._signals import SIGNALS
from ._sizes import count, of_transitions
from ._trial import Trial


# At most as many times of a sequence are kept in `weights.npz`.
FRAMES = 33


class Run:
    """A run folder that is being filled.

    Opened anew or resumed; `train` skips what is finished and continues what is not, so a
    run that was killed at any moment ends with the numbers of one that was not.
    """

    def __init__(
        self,
        experiment: str,
        dataset: str,
        config: Config,
        models: Collection[str] = (),
    ):
        """**Arguments:**

        - `experiment`, `dataset`: their names.
        - `config`: what was asked for.
        - `models`: the names of all that `wants` will be asked about; by default any are.

        **Raises:** `ValueError` where `--models` names something else, before there is a
        folder, and where the folder cannot be had.
        """
        self.config, self.folder = resolve(experiment, config)
        if models:
            self.config.check_models(models)
        self._names = {name.lower() for name in models}
        self.experiment, self.dataset = experiment, dataset
        self.console = Console(stderr=True)
        SIGNALS.command = f"python -m experiments {experiment} --resume {self.folder}"
        self.results: list[dict] = []
        try:
            for name in ("figures", "checkpoints", "models"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.folder)
            if config.resume is None:
                # Another process may have begun one before this had the folder.
                refuse_used(self.folder)
                written = {"experiment": experiment, **self.config.dump()}
                write_json(self.folder / "config.json", written)
            sweep(self.folder)
            self._metrics = Metrics(self.folder / "metrics.jsonl")
        except OSError as error:
            raise ValueError(
                f"`--out {self.folder}` cannot be written: {error.strerror}. Choose "
                "another folder."
            ) from error

    def key(self, *names: str) -> jax.Array:
        """Returns a random key that depends on the seed and on `names` alone."""
        return self.config.key(*names)

    def wants(self, name: str) -> bool:
        """Whether `--models` asks for the model: a name in full is that one alone, and
        anything else all whose names contain it.
        """

        def means(part: str) -> bool:
            return part == name.lower() if part in self._names else part in name.lower()

        chosen = self.config.models
        return not chosen or any(means(part.lower()) for part in chosen)

    def train(self, trial: Trial) -> Any:
        """Trains and tests one model, or takes it from the folder; returns it."""
        return self.choose(trial.name, [trial])

    def choose(self, name: str, trials: Sequence[Trial]) -> Any:
        """Trains all `trials`, as of one model at several learning rates, and tests the one
        with the least validation figure as `name`, or takes it from the folder; returns it.

        A trial that diverges is out of the choice; where all do, the gentlest is tried at
        lower rates, and if it diverges there too the error is its own. The `seconds` are
        those of the whole search.
        """
        gentlest, asked = min(trials, key=lambda t: t.learning_rate), len(trials)
        trials = [*trials, *gentlest.gentler()]
        result_path, model_path = self._kept(name, "json"), self._kept(name, "eqx")
        if result_path.exists():
            try:
                result = json.loads(result_path.read_bytes())
                (trial,) = (t for t in trials if t.name == result["trial"])
                model = wj.load(model_path, trial.model)
            except (OSError, ValueError, KeyError, TypeError) as error:
                # All of it follows from the checkpoints.
                self.say(f"{name} is made anew from its checkpoints: {error}")
            else:
                self.results.append(result)
                return model
        fits, tried = [], {}
        for i, trial in enumerate(trials):
            if i >= asked and fits:
                break
            try:
                fits.append((trial, *self._fit(trial)))
                tried[trial.name] = _validation(fits[-1][-1])
            except (FloatingPointError, eqx.EquinoxRuntimeError) as error:
                if trial is trials[-1] and not fits:
                    raise
                tried[trial.name] = None
                line = str(error).splitlines()[0]
                self.say(f"{trial.name} is out: {line}")
        # A trial without validation stands alone, so that nothing is compared.
        trial, model, history = min(fits, key=lambda fit: _validation(fit[-1]) or 0.0)
        wj.save(model_path, model)
        result = {
            "model": name,
            "metrics": {k: float(v) for k, v in trial.test(model).items()},
            "validation": _validation(history),
            "parameters": count(model),
            **of_transitions(model),
            "state_size": trial.state_size,
            "steps": trial.steps,
            "best_step": history.best_step,
            "learning_rate": trial.learning_rate,
            "seconds": round(sum(self._metrics.seconds(t.name) for t in trials), 1),
            "trial": trial.name,
            "tried": tried,
            **trial.notes,
        }
        write_json(result_path, result)
        self.results.append(result)
        return model

    def attempt(self, name: str, trials: Sequence[Trial]) -> None:
        """Does what `choose` does, but where all trials diverge, those at lower rates too,
        the result is a row that says so and has no figures: other models go on.
        """
        path = self._kept(name, "json")
        with contextlib.suppress(OSError, ValueError):
            result = json.loads(path.read_bytes())
            if "diverged" in result:
                self.results.append(result)
                return
        try:
            self.choose(name, trials)
        except (FloatingPointError, eqx.EquinoxRuntimeError) as error:
            gentlest = min(trials, key=lambda t: t.learning_rate)
            result = {
                "model": name,
                "metrics": {},
                "parameters": count(gentlest.model),
                "state_size": gentlest.state_size,
                "steps": gentlest.steps,
                "tried": {t.name: None for t in (*trials, *gentlest.gentler())},
                "diverged": str(error).splitlines()[0],
            }
            write_json(path, result)
            self.results.append(result)
            self.say(f"{name} diverged at every rate, and has no figures.")

    def _kept(self, name: str, ending: str) -> Path:
        """Returns where the chosen model of that name is kept, or what is said of it."""
        return self.folder / "models" / f"{_slug(name)}.{ending}"

    def say(self, line: str) -> None:
        """Prints a line beside the progress, as it is."""
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _fit(self, trial: Trial) -> tuple[Any, wj.History]:
        self._metrics.begin()
        with (
            SIGNALS.training() as asked,
            Reporter(self.console, trial.name, trial.steps) as reporter,
        ):

            def report(progress: wj.Progress) -> None:
                reporter.show(progress)
                self._metrics.add(trial.name, progress)

            return wj.fit(
                trial.model,
                trial.loss,
                trial.batches,
                trial.optimizer(),
                steps=trial.steps,
                key=self.key(trial.name, "fit"),
                validate=trial.validate,
                every=max(1, trial.steps // 20),
                checkpoint=self.folder / "checkpoints" / _slug(trial.name),
                resume=True,
                stop=asked,
                report=report,
            )

    def reference(self, name: str, metrics: dict[str, float], **notes: Any) -> None:
        """Adds a row for something that is not trained, with `notes` on it."""
        self.results.append(
            {
                "model": name,
                "metrics": {k: float(v) for k, v in metrics.items()},
                "parameters": 0,
                "state_size": 0,
                "steps": 0,
                **notes,
            }
        )

    def figure(self, name: str, figure) -> None:
        """Writes a figure of matplotlib as PNG."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
        write(self.folder / "figures" / f"{name}.png", stream.getvalue())

    def weights(
        self, unflatten: Callable, thetas: Float[np.ndarray, "n t p"], labels: Sequence
    ) -> None:
        """Writes `weights.npz`: a network's weights as each of some sequences passes, at
        `FRAMES` times at most, evenly over [0, 1]. Its arrays are `times (frame,)`,
        `labels (sequence,)`, and each array of the network as `(sequence, frame, ...)`,
        named "layer " and its place in the network.

        - `unflatten`: `theta -> network`, as a decoder's.
        - `labels`: what each sequence is.
        """
        length = thetas.shape[1]
        steps = np.unique(np.linspace(0, length - 1, FRAMES).round().astype(int))
        networks = eqx.filter_vmap(eqx.filter_vmap(unflatten))(
            jnp.asarray(thetas[:, steps])
        )
        arrays = eqx.filter(networks, eqx.is_inexact_array)
        layers = {
            f"layer {jax.tree_util.keystr(place).lstrip('.')}": np.asarray(array)
            for place, array in jax.tree_util.tree_leaves_with_path(arrays)
        }
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            allow_pickle=False,
            times=steps / max(1, length - 1),
            labels=np.asarray([str(label) for label in labels]),
            **layers,
        )
        write(self.folder / "weights.npz", stream.getvalue())

    def curves(self) -> dict[str, list[dict]]:
        """Returns the lines of `metrics.jsonl` by model."""
        return self._metrics.by_model()

    def finish(
        self, kind: Callable[[dict], str] = lambda row: "", **notes: Any
    ) -> dict:
        """Writes `summary.json`, prints the results, and returns the summary.

        - `kind`: what a result is about; those of a kind have a table of their own. By
            default one table has all.
        - `notes`: what else the summary holds.
        """
        summary = {
            "experiment": self.experiment,
            "dataset": self.dataset,
            "preset": self.config.preset,
            "seed": self.config.seed,
            "seconds": round(sum(r.get("seconds", 0) for r in self.results), 1),
            "results": self.results,
            "versions": _versions(),
            **notes,
        }
        write_json(self.folder / "summary.json", summary)
        # Off a terminal rich would assume 80 columns, too few for every metric.
        console = Console(width=None if sys.stdout.isatty() else 150)
        for about in dict.fromkeys(map(kind, self.results)):
            rows = [row for row in self.results if kind(row) == about]
            console.print(table({**summary, "results": rows}, about))
        self.say(f"Written to {self.folder}")
        self._lock.release()
        return summary


def task_of(row: dict[str, Any]) -> str:
    """Returns what the result of a model named "TASK: NAME" is about."""
    return row["model"].partition(": ")[0]


def _versions() -> dict[str, str]:
    packages = ("warp_jax", "jax", "equinox", "optax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **versions}


def _validation(history: wj.History) -> float | None:
    return dict(history.validation).get(history.best_step)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
