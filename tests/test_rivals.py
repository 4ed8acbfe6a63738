"""The rivals' recurrences as their papers write them, and the table of rivals."""

import itertools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments.__main__ import main
from experiments._rivals import CELLS, rival, state_size
from experiments._sizes import count
from experiments.baselines import (
    FACTS,
    Gated,
    GRU,
    implicit,
    implicit_explicit,
    LinOSS,
    recurrent,
    RGLRU,
    S4D,
    S5,
    S6,
    Stack,
)
from experiments.baselines.recurrent import AbstractScanned
from experiments.baselines.s5 import hippo

from .helpers import assert_close, named_arrays, perturbed


STEPS = 6


def problem(cell, size=2):
    """Returns a cell off its initial values, its weights by name, and its inputs."""
    cell = perturbed(cell, 1, 0.2)
    named = {name.lstrip("."): w for name, w in named_arrays(cell).items()}
    xs = jr.normal(jr.key(2), (STEPS, size))
    return cell, named, xs


def rolled(cell, xs):
    """Returns what is read after every step."""
    return cell.roll(None, xs, jnp.ones(len(xs), bool))[0]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softplus(z):
    return np.log1p(np.exp(z))


def gelu(z):
    return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def selected(w, xs, prefix=""):
    """Returns what S6 reads after every step, channel by channel and mode by mode."""
    xs = np.asarray(xs, np.float64)
    rank = w[f"{prefix}widen.weight"].shape[1]
    modes = w[f"{prefix}log_decay"].shape[1]
    state = np.zeros(w[f"{prefix}log_decay"].shape)
    ys = []
    for x in xs:
        chosen = w[f"{prefix}select.weight"] @ x
        B, C = chosen[rank : rank + modes], chosen[rank + modes :]
        step = softplus(
            w[f"{prefix}widen.weight"] @ chosen[:rank] + w[f"{prefix}widen.bias"]
        )
        y = np.zeros(len(x))
        for d in range(len(x)):
            for n in range(modes):
                decay = -np.exp(w[f"{prefix}log_decay"][d, n])
                kept = np.exp(step[d] * decay) * state[d, n]
                state[d, n] = kept + step[d] * B[n] * x[d]
            y[d] = state[d] @ C + w[f"{prefix}D"][d] * x[d]
        ys.append(y)
    return np.stack(ys)


@pytest.mark.parametrize("make", (GRU, LinOSS, S5))
def test_the_last_step_alone_reads_what_the_whole_roll_does(make):
    cell, _, xs = problem(make(2, 3, key=jr.key(0)))
    assert_close(cell.last(xs), rolled(cell, xs)[-1])


@pytest.mark.parametrize("scheme", (implicit, implicit_explicit))
def test_linoss_solves_its_scheme(scheme, precision):
    cell, w, xs = problem(LinOSS(2, 3, scheme=scheme, key=jr.key(0)))
    stiffness, step = np.maximum(w["raw_stiffness"], 0), sigmoid(w["raw_step"])
    state, wanted = np.zeros((3, 2)), []
    for x in np.asarray(xs, np.float64):
        force = w["B"] @ x
        for m, (a, h) in enumerate(zip(stiffness, step)):
            # The velocity sees the place after the step, or the one before it.
            if scheme is implicit:
                left = np.array([[1, h * a], [-h, 1]])
                right = state[m] + [h * force[m], 0]
            else:
                left = np.array([[1, 0], [-h, 1]])
                right = state[m] + [h * (force[m] - a * state[m, 1]), 0]
            state[m] = np.linalg.solve(left, right)
        wanted.append(state.T.ravel())
    assert_close(rolled(cell, xs), np.stack(wanted))


def test_the_explicit_oscillators_keep_their_energy():
    cell = LinOSS(1, 4, scheme=implicit_explicit, key=jr.key(0))
    xs = jnp.zeros((2000, 1)).at[0].set(1.0)
    size = jnp.abs(rolled(cell, xs)).reshape(-1, 2, 4).sum(1)
    late, early = (jnp.max(part, axis=0) for part in (size[-200:], size[:200]))
    assert jnp.all(late > 0.8 * early)
    damped = rolled(LinOSS(1, 4, key=jr.key(0)), xs)
    assert jnp.max(jnp.abs(damped[-1])) < 1e-3


def test_s5_integrates_a_held_input(precision):
    cell, w, xs = problem(S5(2, 3, key=jr.key(0)))
    eigenvalues = -np.exp(w["log_decay"]) + 1j * w["frequency"]
    step, B = np.exp(w["log_step"]), w["B_real"] + 1j * w["B_imag"]
    state, wanted = np.zeros(3, complex), []
    # Of a constant input the exact solution, by a quadrature that knows no zero-order hold.
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for x in np.asarray(xs, np.float64):
        for m in range(3):
            ages = step[m] * (1 + nodes) / 2
            area = np.sum(np.exp(eigenvalues[m] * ages) * weights) * step[m] / 2
            state[m] = np.exp(eigenvalues[m] * step[m]) * state[m] + area * (B[m] @ x)
        wanted.append(np.concatenate([np.real(state), np.imag(state)]))
    assert_close(rolled(cell, xs), np.stack(wanted))


def test_s5_starts_at_hippo():
    eigenvalues, vectors = hippo(6)
    n, k = np.mgrid[:6, :6]
    legs = -np.where(
        n > k, np.sqrt((2 * n + 1) * (2 * k + 1)), np.where(n == k, n + 1, 0)
    )
    low = np.sqrt(np.arange(6) + 0.5)
    normal = legs + np.outer(low, low)
    np.testing.assert_allclose(normal @ vectors, vectors * eigenvalues, atol=1e-12)
    frequencies = np.imag(eigenvalues)
    assert np.all(frequencies > 0) and np.all(np.diff(frequencies) > 0)
    # Twice the real part of the modes is what the whole system would give.
    cell = S5(1, 3, key=jr.key(0))
    B = np.asarray(cell.B_real + 1j * cell.B_imag)
    whole = 2 * np.real(vectors @ B)
    np.testing.assert_allclose(vectors.conj().T @ whole, B, atol=1e-6)


def test_s4d_is_a_system_for_each_channel(precision):
    cell, w, xs = problem(S4D(2, 3, key=jr.key(0)))
    eigenvalues = -np.exp(w["log_decay"]) + 1j * w["frequency"]
    C, step = w["C_real"] + 1j * w["C_imag"], np.exp(w["log_step"])[:, None]
    into = (np.exp(eigenvalues * step) - 1) / eigenvalues
    # As the convolution that the paper computes.
    kernel = [
        2 * np.sum(C * into * np.exp(eigenvalues * step) ** age, axis=1).real
        for age in range(STEPS)
    ]
    seen = np.asarray(xs, np.float64)
    wanted = [sum(kernel[i - j] * seen[j] for j in range(i + 1)) for i in range(STEPS)]
    assert_close(rolled(cell, xs), np.stack(wanted))
    start = S4D(2, 3, key=jr.key(0)).eigenvalues()
    assert_close(start[1], -0.5 + 1j * np.pi * np.arange(3))


def test_s4d_in_blocks_is_s4d_step_by_step(double):
    """Of several blocks, the last one short, with padding and from a state: values and
    gradients.
    """
    cell = perturbed(S4D(2, 3, key=jr.key(0)), 0, 0.1)
    xs, some = jr.normal(jr.key(1), (150, 2)), jr.bernoulli(jr.key(2), 0.9, (150,))
    start = cell.roll(None, xs[:5], some[:5])[1]
    weights = jr.normal(jr.key(3), (150, 2))

    def loss(arrays, roll, start, mask):
        cell, xs = arrays
        hidden, (state, last) = roll(cell, start, xs, mask)
        ends = jnp.sum(state.real) + 2 * jnp.sum(state.imag) + jnp.sum(last)
        return jnp.sum(weights * hidden) + ends

    graded = eqx.filter_jit(eqx.filter_value_and_grad(loss))
    masks = some, jnp.ones(150, bool), jnp.zeros(150, bool), jnp.arange(150) < 128
    for begun, mask in itertools.product((None, start), masks):
        found = graded((cell, xs), S4D.roll, begun, mask)
        assert_close(found, graded((cell, xs), AbstractScanned.roll, begun, mask))


def test_s6_selects(precision):
    cell, w, xs = problem(S6(2, 3, key=jr.key(0)))
    assert_close(rolled(cell, xs), selected(w, xs))


def test_s6_starts_with_steps_within_the_bounds():
    cell = S6(20, min_step=0.01, max_step=0.2, key=jr.key(0))
    _, steps, _, _ = cell.enter(jnp.zeros(20))
    assert jnp.all((steps >= 0.0099) & (steps <= 0.2001))
    assert jnp.ptp(steps) > 0.05
    assert_close(cell.gain()[3], -np.arange(1.0, 9.0))


def test_the_rglru_is_its_formula(precision):
    cell, w, xs = problem(RGLRU(2, key=jr.key(0)))
    state, wanted = np.zeros(2), []
    for x in np.asarray(xs, np.float64):
        recur, let_in = sigmoid(w["gates.weight"] @ x + w["gates.bias"]).reshape(2, 2)
        gain = sigmoid(-w["raw_decay"]) ** (8 * recur)
        state = gain * state + np.sqrt(1 - gain**2) * let_in * x
        wanted.append(state)
    assert_close(rolled(cell, xs), np.stack(wanted))


def test_the_rglru_starts_within_its_ring_and_has_slopes_where_it_is_shut():
    cell = RGLRU(50, key=jr.key(0))
    gains = jnp.exp(-8 * jnp.log1p(jnp.exp(cell.raw_decay)))
    assert jnp.all((gains > 0.899) & (gains < 0.9991)) and jnp.ptp(gains) > 0.08
    shut = eqx.tree_at(lambda c: c.gates.bias, cell, jnp.full(100, -80.0))
    slopes = eqx.filter_grad(lambda c: jnp.sum(rolled(c, jnp.ones((3, 50)))))(shut)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_mamba_convolves_selects_and_gates(precision):
    cell, w, xs = problem(Gated(2, S6(3, 2, key=jr.key(0)), key=jr.key(1)))
    seen = np.asarray(xs, np.float64)
    both = seen @ w["branches.weight"].T
    us, gates = both[:, :3], both[:, 3:]
    convolved = np.zeros((STEPS, 3))
    for i in range(STEPS):
        for back in range(4):
            if i >= back:
                convolved[i] += w["kernel"][3 - back] * us[i - back]
    convolved = convolved + w["bias"]
    us = convolved * sigmoid(convolved)
    wanted = selected(w, us, "cell.") * gates * sigmoid(gates)
    assert_close(rolled(cell, xs), wanted)


def test_facts_routes_factors_to_its_memory(precision):
    cell, w, xs = problem(FACTS(6, 2, key=jr.key(0)), 6)

    def norm(rows, name):
        centred = rows - rows.mean(1, keepdims=True)
        scaled = centred / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
        return w[f"{name}.weight"] * scaled + w[f"{name}.bias"]

    queries = norm(w["memory"], "memory_norm") @ w["query.weight"].T
    state, wanted = w["memory"], []
    for x in np.asarray(xs, np.float64):
        rows = norm(x.reshape(2, 3), "input_norm") @ w["project.weight"].T
        scores = np.exp(queries @ rows[:, :3].T / 3**0.5)
        routes = scores / scores.sum(1, keepdims=True)
        value, step, into = np.split(routes @ rows[:, 3:], 3, axis=1)
        step = softplus(step) + 1e-4
        state = np.exp(-np.exp(w["log_decay"]) * step) * state + step * into * value
        wanted.append(state.ravel())
    assert_close(rolled(cell, xs), np.stack(wanted))


def test_facts_needs_factors_that_fit():
    with pytest.raises(ValueError, match="got input_size=6 and factors=4"):
        FACTS(6, 4, key=jr.key(0))


def test_the_block_is_its_formula(precision):
    stack, w, xs = problem(
        Stack(2, 4, lambda f, key: GRU(f, 3, key=key), key=jr.key(0))
    )
    features = np.asarray(xs, np.float64) @ w["encode.weight"].T + w["encode.bias"]
    for i, block in enumerate(stack.blocks):
        p = f"blocks[{i}]."
        centred = features - features.mean(-1, keepdims=True)
        normed = centred / np.sqrt(features.var(-1, keepdims=True) + 1e-5)
        normed = w[f"{p}norm.weight"] * normed + w[f"{p}norm.bias"]
        hidden = np.asarray(rolled(block.cell, jnp.asarray(normed, xs.dtype)))
        z = gelu(hidden @ w[f"{p}C.weight"].T + w[f"{p}D"] * normed)
        value, gate = np.split(z @ w[f"{p}mix.weight"].T + w[f"{p}mix.bias"], 2, -1)
        features = features + value * sigmoid(gate)
    assert_close(rolled(stack, xs), features)


@pytest.mark.parametrize("name", CELLS)
def test_every_rival_has_the_size_asked_for(name):
    made = {
        n: rival(name, 3, 5, length=10, parameters=n, key=jr.key(0))
        for n in (3000, 20_000)
    }
    for wanted, model in made.items():
        assert abs(count(model) / wanted - 1) < 0.15
        assert model.decoder.out_size == 5
    small, large = made.values()
    assert 0 < state_size(small) < state_size(large)


def test_a_complex_state_counts_twice():
    model = recurrent(S5(2, 3, key=jr.key(0)), 1, 4, key=jr.key(0))
    # Three complex modes, and the six numbers that are read of them.
    assert state_size(model) == 12


# Those that are trained in less than a minute; docs/rivals.md has what the others reach.
SWIFT = "GRU", "LSTM", "S5", "LinOSS-IM", "NRDE", "neural CDE"


@pytest.mark.slow
@pytest.mark.parametrize("name", SWIFT)
def test_a_rival_tells_spirals(name, tmp_path):
    with jax.numpy_rank_promotion("allow"):
        main(["spirals", "--models", name, "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = {row["model"]: row["metrics"]["test_accuracy"] for row in summary["results"]}
    assert rows[name] >= 0.97, rows
