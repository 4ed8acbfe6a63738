"""adaptation: how well a context tells which oscillator it is, without gradient steps."""

import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import Float

import warp_jax as wj

from . import _figures as figures, msd
from ._config import Rated, resolve
from ._data import Dataset, make_msd, Split
from ._data.msd import LENGTHS, make_widened, SIZES
from ._run import Run
from ._systems import compare
from ._tasks import Forecast
from ._tuning import choose, cost, forecasts, Tuning
from .baselines import Model


# Steps given, and how many of those after them are scored, which all contexts leave.
GIVEN = {"quick": (5, 10, 25, 50), "paper": (20, 40, 100, 200)}
AHEAD = {"quick": 14, "paper": 56}
WIDENINGS = (0.0, 0.5, 1.0, 1.5)
TUNINGS = [Tuning(steps, rate) for steps in (1, 4, 16, 64) for rate in (1e-4, 1e-3)]
TUNED = "WARP, fine-tuned"


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Those of `msd` that are compared here, and know no law. They are as small with the
    paper preset: gradient steps make a copy of a model for each context.
    """
    made = msd.models(data, "quick", key)
    return {name: made[name] for name in ("WARP", "GRU", "Transformer")}


def laws(data: Dataset, key: jax.Array) -> dict[str, wj.WARP]:
    """The one of `msd` that learns the right law."""
    return {msd.LEARNT: msd.laws(data, key)[msd.LEARNT]}


def score(
    task: Forecast,
    split: Split,
    predicted: Float[np.ndarray, "n s y"],
    ahead: int,
) -> dict[str, float]:
    """Returns the metrics of predictions of every `xs[1:]`: squared errors of the first
    `ahead` steps after the context, relative to the mean square of what is there, so that
    contexts of any length compare. Predicting rest, all zeros, has 1.
    """
    first = task.context - 1
    steps = slice(first, first + ahead)
    errors = np.mean(task.squared(predicted, split)[:, steps], axis=(1, 2))
    size = np.mean(task.squared(0 * predicted, split)[:, steps])
    return {
        "relative_mse": float(np.mean(errors) / size),
        "relative_mse_median": float(np.median(errors) / size),
    }


def run(config: Rated) -> dict:
    """Forecast oscillators by how much of them is given, and by how far out of range."""
    config, _ = resolve("adaptation", config)
    preset = config.preset
    data = make_msd(SIZES[preset], LENGTHS[preset])
    assert data.scale is not None
    scale = tuple(data.scale.tolist())
    free = Forecast(msd.CONTEXT[preset], scale=scale)
    jumps = msd.jumps(msd.CONTEXT[preset], LENGTHS[preset], scale)
    lawful, free_of_law = (
        laws(data, config.key("laws")),
        models(data, config.key("models")),
    )
    names = (*lawful, *free_of_law, msd.IDENTIFIED, TUNED)
    run = Run("adaptation", "msd", config, names)
    budget = functools.partial(compare, run, data, steps=msd.STEPS, batch=msd.BATCH)
    trained: dict[str, tuple[Forecast, Model, Tuning | None]] = {}
    for task, made in ((jumps, lawful), (free, free_of_law)):
        for name, model in budget(task, made).items():
            trained[name] = task, model, None
    if run.wants(msd.IDENTIFIED):
        trained[msd.IDENTIFIED] = jumps, msd.identified(data), None
    if "WARP" in trained and run.wants(TUNED):
        model = trained["WARP"][1]
        trained[TUNED] = free, model, tune(run, free, model, data.validation)
    rows = probe(run, trained, data.test)
    run.figure("adaptation", draw(rows))
    return run.finish(lambda row: row.get("probe", ""))


def tune(run: Run, task: Forecast, model: Model, validation: Split) -> Tuning:
    """Returns the tuning that validation data chooses, and adds a row of what it costs."""
    tuning, tried = choose(task, model, validation, TUNINGS)
    plain, tuned = (cost(task, model, validation, t) for t in (None, tuning))
    metrics = {
        "gradient_steps": tuning.steps,
        "rate": tuning.rate,
        "cpu_seconds": tuned,
        "in_forecasts": tuned / plain,
    }
    run.reference(TUNED, metrics | tried, probe="cost of a sequence")
    return tuning


def probe(
    run: Run, trained: dict[str, tuple[Forecast, Model, Tuning | None]], test: Split
) -> list[dict]:
    """Adds a row for each model and number of steps given, on the test set; and for each
    model and range, with the training's number of steps. Returns these rows.
    """
    preset, begun = run.config.preset, len(run.results)
    count, length = len(test.xs), test.xs.shape[1]
    asked = [
        (test, given, {"probe": f"{given} steps given", "given": given})
        for given in GIVEN[preset]
    ]
    for widening in WIDENINGS:
        about = {"probe": f"ranges widened by {widening:g}", "widening": widening}
        split = make_widened(widening, count, length)
        asked.append((split, msd.CONTEXT[preset], about))
    for name, (task, model, tuning) in trained.items():
        for split, given, about in asked:
            given_task = dataclasses.replace(task, context=given)
            predicted = forecasts(given_task, model, split, tuning)
            metrics = score(given_task, split, predicted, AHEAD[preset])
            run.reference(name, metrics, **about)
    return run.results[begun:]


def draw(rows: list[dict]):
    """Draws the errors by steps given and by how much the ranges are widened."""
    figure, (panels,) = figures.axes(1, 2, width=3.6)
    labels = {"given": "steps given", "widening": "ranges, 0: training, 1: test"}
    for ax, (about, label) in zip(panels, labels.items()):
        for name in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if row["model"] == name and about in row]
            x = [row[about] for row in own]
            y = [row["metrics"]["relative_mse"] for row in own]
            ax.plot(x, y, "o-", label=name, markersize=3, linewidth=1)
        ax.set(yscale="log", xlabel=label, ylabel="relative_mse")
    panels[1].legend(frameon=False, fontsize=6)
    return figure
