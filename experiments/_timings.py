"""workloads -> rows of the summary: each function times what belongs together."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

import warp_jax as wj

from . import _bench as bench
from ._bench import Timing
from ._rivals import state_size
from ._sizes import count
from ._workloads import CANDIDATES, DENSE, LOW_RANK, PLAIN, Workload
from .baselines import GRU, LinOSS, LRU, Recurrent, recurrent


MIB = 2**20
# r + r + D_x + 1 = 71 numbers are what a low-rank state of rank 32 moves in on the shape
# of EigenWorms; the cells have one more, to be even.
COEFFICIENTS = 72
# Observations of one timed stretch of a stream.
PAIRS = 500


def compared(
    load: Workload,
    rounds: int,
    key: jax.Array,
    *,
    hypernetwork: bool = False,
    candidates: tuple[str, ...] = CANDIDATES,
) -> list[dict]:
    """Times the candidates on one workload, against plain."""
    model_key, data_key, loss_key = jr.split(key, 3)
    models = {
        name: load.model(name, model_key, hypernetwork=hypernetwork)
        for name in candidates
    }
    inputs = load.data(data_key), loss_key
    steps = _timed(bench.training, load, models, inputs, rounds)
    forwards = _timed(bench.forward, load, models, inputs, rounds)
    rows = []
    for name, model in models.items():
        step, forward = steps[name], forwards[name]
        metrics = {
            "ratio": bench.ratio(steps[PLAIN], step),
            "forward_ratio": bench.ratio(forwards[PLAIN], forward),
        }
        of_plain = steps[PLAIN].temp_bytes
        if step.temp_bytes is not None and of_plain is not None:
            metrics["temp_ratio"] = of_plain / max(1, step.temp_bytes)
        if name in (PLAIN, DENSE):
            # Three products of a matrix and a vector a step: one forward, two backward.
            work = 6 * state_size(model) ** 2 * load.batch * (load.length - 1)
            metrics["gflops"] = work / step.median / 1e9
        extrapolated = name == PLAIN and bool(load.plain_lengths)
        mark = " (extrapolated)" if extrapolated else ""
        kind = ", hypernetwork" if hypernetwork else ""
        row = _row(f"{load.title}{kind}: {name}{mark}", model, step, forward, metrics)
        rows.append({**row, "extrapolated": extrapolated})
    return rows


def _timed(
    build: Callable, load: Workload, models: Mapping[str, Any], inputs, rounds: int
) -> dict[str, Timing]:
    """Times every model; plain on shorter sequences where the workload says so, though its
    memory, which takes compiling alone, is that of the whole ones.
    """
    programs = {name: build(m, load.loss, *inputs) for name, m in models.items()}
    if PLAIN not in models or not load.plain_lengths:
        return bench.interleave(programs, rounds)
    whole = programs.pop(PLAIN)
    (xs, targets), key = inputs
    shorter = {
        str(t): build(models[PLAIN], load.loss, (xs[:, :t], targets), key)
        for t in load.plain_lengths
    }
    timings = bench.interleave({**shorter, **programs}, rounds)
    shorter = {int(t): timings.pop(t) for t in shorter}
    plain = bench.extrapolate(shorter, load.length)
    known = {"compile_seconds": whole.compile_seconds, "temp_bytes": whole.temp_bytes}
    return {PLAIN: dataclasses.replace(plain, **known), **timings}


def peak(size: int, rounds: int, key: jax.Array) -> list[dict]:
    """Measures what the machine makes of a product of matrices."""
    metrics = {"gflops": bench.gemm_gflops(size, 2 * rounds)}
    return [_reference(f"GEMM {size}", metrics)]


class Cell(eqx.Module):
    """A cell of which the last hidden vector alone is made, and read once."""

    model: Recurrent

    @property
    def state_size(self) -> int:
        """The size of the hidden vector."""
        return self.model.cell.hidden_size

    def last(self, xs: jax.Array) -> jax.Array:
        hidden = self.model.cell.last(xs)
        time = jnp.ones((), xs.dtype)
        return self.model.read(wj.State(hidden, xs[-1], time), time)


def cells(load: Workload, rounds: int, key: jax.Array) -> list[dict]:
    """Times low rank against cells of as many coefficients, read by a network of the same
    width at the same coordinate.
    """
    keys = jr.split(key, 8)
    _, outs, width, _ = load.network
    made = {
        "LRU": LRU(load.inputs, COEFFICIENTS // 2, key=keys[0]),
        "GRU": GRU(load.inputs, COEFFICIENTS, key=keys[1]),
        "LinOSS": LinOSS(load.inputs, COEFFICIENTS // 2, key=keys[2]),
    }
    models: dict[str, Any] = {LOW_RANK: load.model(LOW_RANK, keys[3])}
    for (name, cell), head_key in zip(made.items(), keys[4:7]):
        model = recurrent(cell, outs, width, coordinates=load.coordinates, key=head_key)
        models[name] = Cell(model)
    inputs = load.data(keys[7]), key
    steps = _timed(bench.training, load, models, inputs, rounds)
    forwards = _timed(bench.forward, load, models, inputs, rounds)
    return [
        _row(
            f"{load.title}, cells: {name}",
            model,
            steps[name],
            forwards[name],
            {"over_lru": bench.ratio(steps[name], steps["LRU"])},
        )
        for name, model in models.items()
    ]


def growth(
    name: str, loads: list[Workload], axis: str, rounds: int, key: jax.Array
) -> list[dict]:
    """Times low rank at growing lengths, or sizes of the state, and fits the exponent."""
    models, programs = {}, {}
    for load in loads:
        model = load.model(LOW_RANK, key)
        size = load.length if axis == "T" else state_size(model)
        models[size] = model
        programs[str(size)] = bench.training(model, load.loss, load.data(key), key)
    timings = bench.interleave(programs, rounds)
    rows = []
    for size, model in models.items():
        row = _row(f"{name}: {axis} {size:,}", model, timings[str(size)])
        rows.append({**row, "growth": {"series": name, "axis": axis, "size": size}})
    if len(rows) > 1:
        seconds = [timings[str(size)].median for size in models]
        metrics = {"exponent": bench.exponent(list(models), seconds)}
        rows.append(_reference(f"{name}: exponent", metrics))
    return rows


def streamed(load: Workload, rounds: int, key: jax.Array) -> list[dict]:
    """Times `step` and `read`, one observation at a time, and counts their traces."""
    model = load.model(LOW_RANK, key)
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    traces = 0

    @jax.jit
    def pair(weights, state, x, t):
        nonlocal traces
        traces += 1
        model = eqx.combine(weights, rest)
        state = model.step(state, x, t)
        return state, model.read(state, t)

    xs = list(load.data(key)[0][0])
    ts = list(jnp.arange(PAIRS, dtype=jnp.float32))
    state, _ = pair(weights, model.init(xs[0]), xs[0], ts[0])
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for i, t in enumerate(ts):
            state, output = pair(weights, state, xs[i % len(xs)], t)
            jax.block_until_ready(output)
        seconds.append((time.perf_counter() - begin) / PAIRS)
    metrics = {"pair_us": 1e6 * statistics.median(seconds), "traces": traces}
    row = _reference(f"stream, {load.name}: {LOW_RANK}", metrics)
    sizes = {"parameters": count(model), "state_size": state_size(model)}
    return [{**row, **sizes, "steps": rounds * PAIRS}]


def _row(
    name: str,
    model: Any,
    step: Timing,
    forward: Timing | None = None,
    more: Mapping[str, float] = {},
) -> dict:
    metrics = {"step_ms": 1e3 * step.median}
    if forward is not None:
        metrics["forward_ms"] = 1e3 * forward.median
    if step.temp_bytes is not None:
        metrics["temp_mib"] = step.temp_bytes / MIB
    return {
        "model": name,
        "metrics": {**metrics, "compile_s": step.compile_seconds, **more},
        "parameters": count(model),
        "state_size": state_size(model),
        "steps": len(step.seconds),
    }


def _reference(name: str, metrics: dict) -> dict:
    return {
        "model": name,
        "metrics": metrics,
        "parameters": 0,
        "state_size": 0,
        "steps": 0,
    }
