"""functions, arguments -> seconds, bytes and exponents: the one place that measures.

Candidates run in turn, A B A B, in one process: on a machine that others share only
their ratio means anything, and only where both saw the same neighbours.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax


# Seconds of one call above which a candidate is slow, and how often it then runs.
LIMIT, SLOW = 60.0, 2
# Short calls are timed many at a time, for about so long: clocks and threads are coarse,
# and one call after another program's finds nothing of its own in the caches.
BURST, MOST = 0.02, 64
# Seconds of a first call, which has more to do than run, above which it tells what a call
# takes.
COLD = 1.0


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled function with its arguments.

    - `call`: starts it, and returns what it gives.
    - `compile_seconds`: what tracing and compiling took.
    - `temp_bytes`: of XLA's temporary buffers; `None` where the backend does not say.
    """

    call: Callable[[], Any]
    compile_seconds: float = 0.0
    temp_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Timing:
    """What a program cost: `seconds` of one call, once for each round it took part in."""

    seconds: tuple[float, ...]
    compile_seconds: float
    temp_bytes: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def compile_ahead(function: Callable, *arguments) -> Program:
    """Returns `function`, compiled for `arguments` before any clock runs.

    **Arguments:**

    - `function`: of arrays and PyTrees of arrays alone, as for `jax.jit`.
    """
    begin = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    analysis = compiled.memory_analysis()
    temp = None if analysis is None else int(analysis.temp_size_in_bytes)
    return Program(lambda: compiled(*arguments), seconds, temp)


def forward(model: Any, loss: Callable, *arguments) -> Program:
    """Returns `loss(model, *arguments)`, compiled ahead."""
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    return compile_ahead(
        lambda weights, *arguments: loss(eqx.combine(weights, rest), *arguments),
        weights,
        *arguments,
    )


def training(model: Any, loss: Callable, *arguments) -> Program:
    """Returns a training step, compiled ahead: forward, backward and AdaBelief.

    Every call takes the same step from the same weights, so all calls are one measurement.
    """
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adabelief(1e-3)

    def step(weights, state, *arguments):
        def of(weights):
            return loss(eqx.combine(weights, rest), *arguments)

        value, gradient = jax.value_and_grad(of)(weights)
        updates, state = optimizer.update(gradient, state, weights)
        return value, optax.apply_updates(weights, updates), state

    return compile_ahead(step, weights, optimizer.init(weights), *arguments)


def interleave(
    programs: Mapping[str, Program], rounds: int, limit: float = LIMIT
) -> dict[str, Timing]:
    """Runs the programs in turn, `rounds` times, after a call or two each to warm up.

    A program whose calls take more than `limit` seconds takes part in the first few
    rounds alone: its timing then has fewer `seconds`.

    **Raises:** `FloatingPointError` where a program gives numbers that are not finite,
    for such numbers are not what anybody would wait for.
    """
    if rounds < 1:
        raise ValueError(
            f"`interleave(programs, rounds)` needs rounds >= 1; got {rounds}."
        )
    first = {name: _first(name, program) for name, program in programs.items()}
    count = {n: rounds if s <= limit else min(rounds, SLOW) for n, s in first.items()}
    burst = {n: min(MOST, max(1, math.ceil(BURST / s))) for n, s in first.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for index in range(rounds):
        for name, program in programs.items():
            if index < count[name]:
                seconds[name].append(_seconds(program, burst[name]))
    return {
        name: Timing(tuple(seconds[name]), program.compile_seconds, program.temp_bytes)
        for name, program in programs.items()
    }


def _first(name: str, program: Program) -> float:
    """Returns about how many seconds a call takes."""
    begin = time.perf_counter()
    outcome = jax.block_until_ready(program.call())
    seconds = time.perf_counter() - begin
    for leaf in jax.tree.leaves(outcome):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not jnp.all(jnp.isfinite(leaf)):
            raise FloatingPointError(
                f"{name}: a number that is not finite came out of what is to be timed. "
                "Shorten the sequences, or choose another `--seed`."
            )
    return seconds if seconds > COLD else _seconds(program, 1)


def _seconds(program: Program, burst: int) -> float:
    begin = time.perf_counter()
    for _ in range(burst):
        jax.block_until_ready(program.call())
    return (time.perf_counter() - begin) / burst


def ratio(reference: Timing, other: Timing) -> float:
    """Returns how many times slower the reference is: the median over the rounds in which
    both took part.
    """
    return statistics.median(a / b for a, b in zip(reference.seconds, other.seconds))


def extrapolate(timings: Mapping[int, Timing], size: int) -> Timing:
    """Returns what `size` would take, by a straight line through each round's timings.

    **Arguments:**

    - `timings`: by size, of at least two sizes. For the seconds of a scan, which are a
        constant and so much a step. Compilation and memory are not extrapolated.
    """
    if len(timings) < 2:
        raise ValueError(
            f"`extrapolate(timings, size)` needs two sizes; got {list(timings)}."
        )
    sizes = list(timings)
    rounds = zip(*(timing.seconds for timing in timings.values()))
    lines = (np.polynomial.Polynomial.fit(sizes, seconds, 1) for seconds in rounds)
    return Timing(tuple(float(line(size)) for line in lines), 0.0, None)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Returns k of `seconds ~ size ** k`: least squares on the logarithms over the upper
    half of the sizes, where what every call costs no longer hides the growth.
    """
    if len(sizes) < 2 or len(sizes) != len(seconds):
        raise ValueError(
            "`exponent(sizes, seconds)` needs two sizes or more and as many seconds; got "
            f"{len(sizes)} and {len(seconds)}."
        )
    upper = max(2, math.ceil((len(sizes) + 1) / 2))
    line = np.polyfit(np.log(sizes[-upper:]), np.log(seconds[-upper:]), 1)
    return float(line[0])


def gemm_gflops(size: int = 2048, calls: int = 8) -> float:
    """Returns the machine's peak in GFLOP/s, the best of some products of square float32
    matrices: no dense transition can go through its steps any faster.
    """
    left, right = jr.normal(jr.key(0), (2, size, size), jnp.float32)
    program = compile_ahead(jnp.matmul, left, right)
    _first("matmul", program)
    best = min(_seconds(program, 1) for _ in range(calls))
    return 2 * size**3 / best / 1e9
