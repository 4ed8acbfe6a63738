"""Times of their own: skipped by default, run with `pytest --benchmark-only`."""

import dataclasses

import jax
import jax.random as jr
import pytest

from experiments import _bench
from experiments._workloads import CANDIDATES, EIGENWORMS, LOW_RANK, MSD


SHORT = {
    "last": dataclasses.replace(EIGENWORMS, length=512),
    "all": dataclasses.replace(EIGENWORMS, length=256, task="all"),
    "autoregressive": dataclasses.replace(MSD, length=24, batch=8),
}
KINDS = {"step": _bench.training, "forward": _bench.forward}


@pytest.fixture(autouse=True)
def as_users_have_it():
    """The suite's own settings are for compiling fast."""
    with jax.numpy_rank_promotion("allow"):
        jax.config.update("jax_disable_most_optimizations", False)
        yield
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", SHORT)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_time_of_a_batch(candidate, task, kind, benchmark):
    load = SHORT[task]
    model = load.model(candidate, jr.key(0))
    program = KINDS[kind](model, load.loss, load.data(jr.key(1)), jr.key(2))
    benchmark.extra_info["compile_seconds"] = program.compile_seconds
    benchmark.extra_info["temp_bytes"] = program.temp_bytes
    benchmark(lambda: jax.block_until_ready(program.call()))


def test_time_of_an_observation_in_a_stream(benchmark):
    model = MSD.model(LOW_RANK, jr.key(0))
    xs = MSD.data(jr.key(1))[0][0]

    @jax.jit
    def pair(state, x, t):
        state = model.step(state, x, t)
        return state, model.read(state, t)

    state = model.init(xs[0])
    benchmark(lambda: jax.block_until_ready(pair(state, xs[1], 1.0)))
