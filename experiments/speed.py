"""speed: what a training step costs, against the same recurrence written by hand.

Everything is timed on random inputs and off the initial weights, in one process, the
candidates in turn. Beside the name of what is timed stand

- `step_ms`, `forward_ms`: of a training step, with AdaBelief, and of its loss alone.
- `ratio`, `forward_ratio`: plain's time over its own, the median over the rounds.
- `temp_mib`, `temp_ratio`: XLA's temporary memory of a step; plain's over its own.
- `compile_s`: of tracing and compiling a step.
- `gflops`: the products with A that the recurrence as written takes, over the time of a
  step; in the row `GEMM`, the most that the machine does.
- `over_lru`: its time over the LRU's.
- `exponent`: of the size in the time of a step, over the upper half of the sizes.
- `pair_us`, `traces`: of `step` and `read` in a stream; how often they were traced.

`steps` says how many rounds were timed: a slow candidate has fewer.
"""

import dataclasses
import functools
import time
from collections.abc import Callable

import jax
import numpy as np
from matplotlib.figure import Figure

from . import _figures as figures
from ._bench import exponent
from ._config import Config, resolve
from ._log import Metrics
from ._run import Run
from ._timings import cells, compared, growth, peak, streamed
from ._workloads import (
    DENSE,
    EIGENWORMS,
    LOW_RANK,
    MSD,
    of_size,
    PLAIN,
    WIDTHS,
    WORKLOADS,
)


ROUNDS = {"quick": 3, "paper": 5}
# Of `--quick`: several times below what a quiet machine gives, so that a busy one passes.
FLOORS = {DENSE: 0.5, LOW_RANK: 4.0}
LENGTHS = {"quick": (256, 512, 1024), "paper": tuple(2**i for i in range(8, 15))}
SIZES = {"quick": tuple(WIDTHS)[:3], "paper": tuple(WIDTHS)}

# What a row is about, by the first of these that it measures.
KINDS = {
    "ratio": "against plain",
    "over_lru": "against other cells",
    "exponent": "growth",
    "step_ms": "growth",
    "gflops": "the machine",
    "pair_us": "streams",
}

# What is measured together: `(rounds, key) -> rows` of the summary.
Measure = Callable[[int, jax.Array], list[dict]]


@dataclasses.dataclass(frozen=True)
class Options(Config):
    """What `speed` can be asked for. Its `--steps` is how many rounds are timed, and
    `--models` chooses among the workloads."""

    quick: bool = False
    """Only check, on one small workload, that ratios are above a wide floor."""


def sections(config: Options) -> dict[str, Measure]:
    """Returns all that is to be measured, by name."""
    bind = functools.partial
    if config.quick:
        small = dataclasses.replace(EIGENWORMS, network=(21, 5, 16, 1), length=512)
        return {small.title: bind(compared, small, candidates=(PLAIN, *FLOORS))}
    preset, paper = config.preset, config.preset == "paper"
    loads = WORKLOADS[preset]
    found: dict[str, Measure] = {load.title: bind(compared, load) for load in loads}
    for load in loads if paper else loads[:1]:
        name = f"{load.title}, hypernetwork"
        found[name] = bind(compared, load, hypernetwork=True)
    found["GEMM"] = bind(peak, 2048 if paper else 1024)
    found["cells"] = bind(cells, loads[0])
    for task in ("last", "all"):
        load = dataclasses.replace(EIGENWORMS, task=task)
        by_length = [dataclasses.replace(load, length=t) for t in LENGTHS[preset]]
        name = f"growth in T, {task}"
        found[name] = bind(growth, name, by_length, "T")
    length, batch = (256, 16) if paper else (64, 4)
    name = f"growth in D_θ, T {length}"
    by_size = [of_size(size, length, batch) for size in SIZES[preset]]
    found[name] = bind(growth, name, by_size, "D_θ")
    if paper:
        long = dataclasses.replace(EIGENWORMS, name="long", length=100_000)
        found[long.title] = bind(growth, long.title, [long], "T")
    found["stream"] = bind(streamed, MSD)
    return found


def run(config: Options) -> dict:
    """Time training steps against the recurrence written by hand, and other cells."""
    config, _ = resolve("speed", config)
    every = sections(config)
    run = Run("speed", "random", config, every)
    log = Metrics(run.folder / "metrics.jsonl")
    for name in filter(run.wants, every):
        rows = [line for line in log.lines if line["section"] == name]
        # A kill may have come between two lines of a section: then it is timed again.
        if not rows or len(rows) < rows[0]["rows"]:
            log.lines = [line for line in log.lines if line["section"] != name]
            run.console.print(f"{name}:", highlight=False)
            begin = time.perf_counter()
            rows = every[name](config.steps or ROUNDS[config.preset], run.key(name))
            seconds = (time.perf_counter() - begin) / len(rows)
            about = {"section": name, "rows": len(rows), "seconds": round(seconds, 2)}
            rows = [{**row, **about} for row in rows]
            log.lines += rows
            log.write()
            for row in rows:
                run.console.print(_said(row), soft_wrap=True, highlight=False)
        run.results += rows
    if any("growth" in row for row in run.results):
        run.figure("growth", growth_figure(run.results))
    summary = run.finish(_kind)
    if config.quick:
        check_floors(run.results)
    return summary


def _kind(row: dict) -> str:
    return next(about for name, about in KINDS.items() if name in row["metrics"])


def _said(row: dict) -> str:
    figures = (f"{name} {figure:.4g}" for name, figure in row["metrics"].items())
    return f"  {row['model']}: {', '.join(figures)}"


def check_floors(results: list[dict]) -> None:
    """Raises `ValueError` where a candidate is not as much faster as it must be."""
    for row in results:
        floor = FLOORS.get(row["model"].rpartition(": ")[2])
        found = row["metrics"].get("ratio")
        if floor is not None and found is not None and found < floor:
            raise ValueError(
                f"`speed --quick` needs {row['model']} to be at least {floor} times as "
                f"fast as plain; got {found:.3g}. Look at what its roll resolves to, or "
                "run again on a machine that is less busy."
            )


def growth_figure(results: list[dict]) -> Figure:
    """Draws the time of a step against the length and against the size of the state."""
    figure, ((left, right),) = figures.axes(1, 2, width=4.2, height=3.4)
    axes = {"T": left, "D_θ": right}
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in results:
        if "growth" in row:
            about = row["growth"]
            place = about["size"], row["metrics"]["step_ms"]
            series.setdefault((about["axis"], about["series"]), []).append(place)
    for (axis, name), places in series.items():
        sizes, times = np.transpose(places)
        label = name
        if len(places) > 1:
            label = f"{name}: exponent {exponent(sizes, times):.2f}"
        axes[axis].plot(sizes, times, "o-", label=label, markersize=3)
    for axis, ax in axes.items():
        ax.set(xscale="log", yscale="log", xlabel=axis, ylabel="training step, ms")
        if ax.lines:
            ax.legend(frameon=False, fontsize=7)
    return figure
