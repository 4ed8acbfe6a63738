"""What `python -m experiments speed` measures, and that it measures equal things."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments import _bench
from experiments.__main__ import main
from experiments._plain import Plain
from experiments._timings import cells, compared, growth, streamed
from experiments._workloads import CANDIDATES, DENSE, LOW_RANK, PLAIN, Workload
from experiments.baselines import LinOSS, recurrent
from experiments.speed import check_floors, FLOORS

from .helpers import assert_close, joined


SMALL = {
    "last": Workload(
        "last", (5, 3, 4, 1), 9, 2, 3, "last", wj.SinusoidalCoordinates(4)
    ),
    "observing": Workload("all", (3, 2, 4, 2), 9, 2, 3, "all", observe=True),
    "fed back": Workload("own", (1, 2, 4, 1), 9, 2, 3, "autoregressive"),
    "gaussian": Workload(
        "nll", (1, 4, 4, 1), 9, 2, 3, "autoregressive", gaussian=True, chosen=5
    ),
}


@pytest.fixture
def as_users_have_it():
    """Optimisers broadcast on purpose, and times are those of optimised programs."""
    with jax.numpy_rank_promotion("allow"):
        jax.config.update("jax_disable_most_optimizations", False)
        yield
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def broadcasting():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize(
    "name, hypernetwork", [*((name, False) for name in SMALL), ("fed back", True)]
)
def test_plain_is_the_library(name, hypernetwork, double):
    load = SMALL[name]
    plain, dense = (
        load.model(candidate, jr.key(0), hypernetwork=hypernetwork)
        for candidate in (PLAIN, DENSE)
    )
    # As far from the start that a swapped or forgotten term shows.
    A = dense.transition.A + 0.1 * jr.normal(jr.key(1), dense.transition.A.shape)
    B = 0.3 * jr.normal(jr.key(2), dense.transition.B.shape)
    plain = eqx.tree_at(lambda m: (m.A, m.B), plain, (A, B))
    dense = eqx.tree_at(lambda m: (m.transition.A, m.transition.B), dense, (A, B))
    data, key = load.data(jr.key(3)), jr.key(4)

    @eqx.filter_jit
    def everything(model):
        value, slopes = eqx.filter_value_and_grad(load.loss)(model, data, key)
        moved = slopes if isinstance(model, Plain) else slopes.transition
        xs = data[0][0]
        outputs = joined(model(xs)), joined(model.last(xs))
        return outputs, value, (moved.A, moved.B, slopes.initial)

    got, want = everything(plain), everything(dense)
    assert_close(got, want)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(want))


def test_candidates_are_off_their_start_and_within_the_unit_circle():
    load = dataclasses.replace(SMALL["last"], network=(5, 3, 24, 1))
    for candidate in set(CANDIDATES) - {PLAIN}:
        transition = load.model(candidate, jr.key(0)).transition
        A = np.asarray(transition.matrix(), np.float64)
        assert 0.5 < np.max(np.abs(np.linalg.eigvals(A))) < 1
        assert not np.allclose(A, np.eye(len(A)), atol=1e-3)
        assert jnp.all(transition.B != 0)


def test_linoss_is_its_formula(precision):
    stiff = jnp.array([0.3, -0.5, 2.0, 0.0, 0.7])
    cell = eqx.tree_at(
        lambda cell: cell.raw_stiffness, LinOSS(2, 5, key=jr.key(0)), stiff
    )
    step = 1 / (1 + np.exp(-np.asarray(cell.raw_step, np.float64)))
    stiffness = np.maximum(np.asarray(cell.raw_stiffness, np.float64), 0)
    B = np.asarray(cell.B, np.float64)
    xs = jr.normal(jr.key(2), (9, 2))
    hidden, got = np.zeros((5, 2)), cell.init()
    for x in xs:
        forces = B @ np.asarray(x, np.float64)
        for k in range(5):
            # The implicit step, (z, y) = before + step * right side at (z, y), solved.
            right = np.array([[0, -stiffness[k]], [1, 0]])
            known = hidden[k] + step[k] * np.array([forces[k], 0])
            hidden[k] = np.linalg.solve(np.eye(2) - step[k] * right, known)
        got = cell(got, x)
    assert_close(cell.hidden(got), hidden.T.ravel())


def test_linoss_streams(precision):
    model = recurrent(LinOSS(2, 3, key=jr.key(0)), 2, 4, key=jr.key(1))
    xs, ts = jr.normal(jr.key(2), (7, 2)), jnp.linspace(0, 1, 7)
    state = model.init(xs[0], ts[0])
    for step in range(1, 7):
        state = model.step(state, xs[step], ts[step])
    assert_close(model.read(state, ts[-1]), model(xs, ts)[-1])


def test_programs_take_turns_and_slow_ones_leave_early():
    order = []

    def program(name):
        def call():
            order.append(name)
            return jnp.zeros(())

        return _bench.Program(call)

    programs = {name: program(name) for name in "AB"}
    slow = _bench.interleave(programs, 4, limit=0.0)
    assert {len(timing.seconds) for timing in slow.values()} == {_bench.SLOW}
    turns = [name for i, name in enumerate(order) if i == 0 or name != order[i - 1]]
    assert turns == list("AB" * (1 + _bench.SLOW))
    fast = _bench.interleave(programs, 4, limit=60.0)
    assert {len(timing.seconds) for timing in fast.values()} == {4}
    with pytest.raises(ValueError, match="got 0"):
        _bench.interleave(programs, 0)
    with pytest.raises(FloatingPointError, match="bad"):
        _bench.interleave({"bad": _bench.Program(lambda: jnp.array(jnp.nan))}, 1)


def test_a_slow_first_call_does_not_make_a_program_slow(monkeypatch):
    clock, calls = [0.0], []

    def call():
        calls.append(clock[0])
        clock[0] += 0.125 if len(calls) == 1 else 1 / 1024
        return jnp.zeros(())

    monkeypatch.setattr(_bench.time, "perf_counter", lambda: clock[0])
    (timing,) = _bench.interleave({"A": _bench.Program(call)}, 3).values()
    assert timing.seconds == (1 / 1024,) * 3
    # No less than twenty milliseconds a round.
    assert len(calls) == 2 + 3 * 21


def test_ratios_lines_and_exponents():
    def timing(*seconds):
        return _bench.Timing(seconds, 0.0, None)

    # By rounds, not by medians: the second round was busy for both.
    assert _bench.ratio(timing(2, 90, 4), timing(1, 30)) == 2.5
    line = _bench.extrapolate({10: timing(3, 4), 20: timing(5, 8)}, 100)
    np.testing.assert_allclose(line.seconds, (21, 40))
    sizes = [2.0**i for i in range(8)]
    assert abs(_bench.exponent(sizes, [3 * s**0.7 for s in sizes]) - 0.7) < 1e-9
    # What every call costs hides growth among the small sizes alone.
    seconds = [max(1, s / 8) for s in sizes]
    assert abs(_bench.exponent(sizes, seconds) - 1) < 1e-9
    with pytest.raises(ValueError, match="got 1 and 1"):
        _bench.exponent([1], [1])
    with pytest.raises(ValueError, match=r"got \[10\]"):
        _bench.extrapolate({10: timing(1)}, 20)


@pytest.mark.slow
def test_rows_have_what_their_table_shows(broadcasting):
    load = dataclasses.replace(
        SMALL["last"], network=(5, 3, 30, 1), plain_lengths=(4, 6)
    )
    rows = compared(load, 1, jr.key(0), candidates=(PLAIN, DENSE, LOW_RANK))
    assert [row["extrapolated"] for row in rows] == [True, False, False]
    assert rows[0]["metrics"]["ratio"] == 1
    for row in rows:
        assert {"step_ms", "forward_ms", "ratio", "compile_s"} <= set(row["metrics"])
        assert row["metrics"]["temp_mib"] >= 0
    others = cells(load, 1, jr.key(0))
    assert [row["model"].split()[-1] for row in others[1:]] == ["LRU", "GRU", "LinOSS"]
    assert others[1]["metrics"]["over_lru"] == 1
    lengths = [dataclasses.replace(load, length=length) for length in (5, 9)]
    *points, fit = growth("growth", lengths, "T", 1, jr.key(0))
    assert [row["growth"]["size"] for row in points] == [5, 9]
    assert set(fit["metrics"]) == {"exponent"}


@pytest.mark.slow
def test_quick_is_above_its_floors_and_resumes(tmp_path, as_users_have_it):
    folder = tmp_path / "run"
    main(["speed", "--quick", "--out", str(folder)])
    summary = json.loads((folder / "summary.json").read_text())
    assert {
        "experiment",
        "dataset",
        "preset",
        "seed",
        "seconds",
        "results",
        "versions",
    } <= set(summary)
    keys = {"model", "metrics", "parameters", "state_size", "steps"}
    assert all(keys <= set(row) for row in summary["results"])
    rows = {row["model"].split(": ")[1]: row for row in summary["results"]}
    assert rows[LOW_RANK]["metrics"]["ratio"] > FLOORS[LOW_RANK]
    assert rows[LOW_RANK]["parameters"] < rows[PLAIN]["parameters"]
    main(["speed", "--resume", str(folder)])
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_what_is_lost_is_noticed():
    row = {"model": f"shape: {LOW_RANK}", "metrics": {"ratio": 1.5}}
    with pytest.raises(ValueError, match=r"at least 4\.0 times .* got 1\.5"):
        check_floors([row])
    check_floors([{**row, "metrics": {"ratio": 4.5}}])


def test_streams_are_traced_once(broadcasting):
    load = dataclasses.replace(SMALL["fed back"], network=(1, 2, 30, 1))
    (row,) = streamed(load, 1, jr.key(0))
    assert row["metrics"]["traces"] == 1


def test_a_kill_loses_what_was_being_measured(tmp_path, broadcasting):
    folder = tmp_path / "run"
    asked = ["speed", "--models", "GEMM", "stream", "--steps", "1"]
    main([*asked, "--out", str(folder)])
    path = folder / "metrics.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{second[:20]}")
    main(["speed", "--resume", str(folder)])
    kept, again = path.read_text().splitlines()
    assert kept == first
    assert json.loads(again)["model"] == json.loads(second)["model"]


def test_what_names_no_workload_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["speed", "--models", "nothing", "--out", str(tmp_path / "none")])
    assert "`--models nothing` is part of no model's name" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
