"""The rivals: their formulas, and that streams, batches and padding agree."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments.baselines import (
    BracketField,
    Controlled,
    Driven,
    FACTS,
    Field,
    Gated,
    GRU,
    implicit_explicit,
    LinOSS,
    LRU,
    LSTM,
    neural_ode,
    recurrent,
    RGLRU,
    S4D,
    S5,
    S6,
    SignatureField,
    Stack,
    Transformer,
)

from .helpers import assert_close, perturbed, SINGLE_IS_SLOW


WINDOW = 4
CELLS = {
    "GRU": lambda key: GRU(2, 4, key=key),
    "LSTM": lambda key: LSTM(2, 4, key=key),
    "LRU": lambda key: LRU(2, 4, key=key),
    "LinOSS": lambda key: LinOSS(2, 3, scheme=implicit_explicit, key=key),
    "S4D": lambda key: S4D(2, 3, key=key),
    "S5": lambda key: S5(2, 3, key=key),
    "S6": lambda key: S6(2, 3, key=key),
    "RG-LRU": lambda key: RGLRU(2, key=key),
    "FACTS": lambda key: Gated(2, FACTS(6, 2, key=key), key=key),
    "neural CDE": lambda key: Controlled(2, Field(3, 4, 5, key=key), length=5, key=key),
    "NRDE": lambda key: Controlled(
        2, SignatureField(3, 4, 5, key=key), length=5, window=3, key=key
    ),
    "Log-NCDE": lambda key: Controlled(
        2, BracketField(3, 4, 5, key=key), length=5, window=3, key=key
    ),
    "Gated": lambda key: Gated(2, S6(3, 2, key=key), key=key),
    "Stack": lambda key: Stack(
        2, 4, lambda size, key: Gated(size, LRU(size, 2, key=key), key=key), key=key
    ),
    "short Transformer": lambda key: Transformer(2, 4, heads=2, window=WINDOW, key=key),
    "Transformer": lambda key: Transformer(2, 4, heads=2, window=20, key=key),
}


def make(name) -> Any:
    """Returns a model with every weight off its initial value."""
    if name == "neural ODE":
        return perturbed(neural_ode(2, 3, 2, 4, rate=3.0, key=jr.key(0)))
    if name == "driven LRU":
        model = make("LRU")
        return Driven(model.cell, model.decoder, model.coordinates, wj.Increments())
    return perturbed(recurrent(CELLS[name](jr.key(0)), 2, 5, key=jr.key(1)), 0, 0.1)


# These compile for long.
SLOW = (
    "short Transformer",
    "Transformer",
    "neural ODE",
    "Stack",
    "FACTS",
    "NRDE",
    "Log-NCDE",
)
MODELS = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in (*CELLS, "driven LRU", "neural ODE")
    ],
)


def weights(module):
    """Returns the arrays of a module in double precision, in order."""
    return [
        np.asarray(leaf, np.float64)
        for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_array))
    ]


def sequence():
    return jr.normal(jr.key(2), (7, 2)), jnp.linspace(0.2, 1.3, 7)


@SINGLE_IS_SLOW
@MODELS
def test_a_stream_gives_the_numbers_of_a_batch(name, precision):
    model, (xs, ts) = make(name), sequence()
    outputs = eqx.filter_jit(model)(xs, ts)
    step = eqx.filter_jit(lambda state, x, t: model.step(state, x, t))
    read = eqx.filter_jit(model.read)
    state = eqx.filter_jit(model.init)(xs[0], ts[0])
    assert_close(read(state, ts[0]), outputs[0])
    for i in range(1, 7):
        state = step(state, xs[i], ts[i])
        assert_close(read(state, ts[i]), outputs[i])
    # Cut anywhere, the rest goes on from the state.
    final = eqx.filter_jit(model.final)
    cut = final(xs[:3], ts[:3])
    rest = eqx.filter_jit(model)(xs[3:], ts[3:], state=cut)
    assert_close(rest, outputs[3:])
    assert_close(final(xs, ts), state)


def test_what_is_driven_by_increments_is_given_them(double):
    plain, (xs, ts) = make("LRU"), sequence()
    by_hand = np.diff(xs, axis=0, prepend=xs[:1])
    assert_close(make("driven LRU")(xs, ts), plain(jnp.asarray(by_hand), ts))


@MODELS
def test_padding_is_skipped(name, double):
    model, (xs, ts) = make(name), sequence()
    mask = jnp.array([1, 1, 0, 1, 1, 0, 0], bool)
    dirty = jnp.where(mask[:, None], xs, 9.0)
    final, outputs = eqx.filter_jit(model.final), eqx.filter_jit(model)
    kept = final(xs[mask], ts[mask])
    assert_close(final(dirty, ts, mask=mask), kept)
    cut = final(xs[:2], ts[:2])
    assert_close(final(dirty[2:], ts[2:], mask=mask[2:], state=cut), kept)
    queries = jnp.full(7, 1.5)
    padded = outputs(dirty, ts, queries, mask)
    assert_close(padded[mask], outputs(xs[mask], ts[mask], queries[:4]))
    assert_close(padded[-1], padded[4])

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(model, xs):
        return jnp.sum(model(xs, ts, queries, mask)[mask] ** 2)

    assert_close(gradient(model, dirty), gradient(model, xs))


@MODELS
def test_no_output_knows_a_later_observation(name, double):
    model, (xs, ts) = make(name), sequence()
    slopes = jax.jit(jax.jacobian(lambda xs: model(xs, ts, ts + 0.1)))(xs)
    slopes = np.abs(np.asarray(slopes)).sum((1, 3))
    assert np.all(np.triu(slopes, 1) == 0)
    reach = 2 * WINDOW - 1 if name == "short Transformer" else 7
    lower = np.subtract.outer(np.arange(7), np.arange(7))
    if name == "driven LRU":
        # The first observation has no increment.
        lower[0, 0] = -1
    assert np.all(slopes[(lower >= 0) & (lower < reach)] > 0)
    assert wj.forecast(model, xs, 3).shape == (3, 2)


def test_the_lru_is_its_formula(precision):
    cell = perturbed(LRU(2, 3, key=jr.key(0)), 1, 0.1)
    xs = jr.normal(jr.key(2), (9, 2))
    hidden = np.zeros(3, complex)
    decay = np.exp(-np.exp(np.asarray(cell.log_decay, np.float64)))
    turn = np.exp(1j * np.exp(np.asarray(cell.log_phase, np.float64)))
    matrix = np.asarray(cell.B_real) + 1j * np.asarray(cell.B_imag)
    got = cell.init()
    for x in xs:
        hidden = decay * turn * hidden + np.sqrt(1 - decay**2) * (
            matrix @ np.asarray(x)
        )
        got = cell(got, x)
    assert_close(cell.hidden(got), np.concatenate([np.real(hidden), np.imag(hidden)]))
    assert_close(cell.eigenvalues(), decay * turn)


def test_the_gru_is_its_formula(precision):
    cell = GRU(2, 3, key=jr.key(0))
    x, h = jr.normal(jr.key(1), (2,)), jr.normal(jr.key(2), (3,))
    w = {
        k: np.asarray(v, np.float64)
        for k, v in vars(cell.cell).items()
        if eqx.is_array(v)
    }
    i = w["weight_ih"] @ np.asarray(x) + w["bias"]
    f = w["weight_hh"] @ np.asarray(h)
    reset, update = 1 / (1 + np.exp(-(i + f)[:6].reshape(2, 3)))
    new = np.tanh(i[6:] + reset * (f[6:] + w["bias_n"]))
    assert_close(cell(h, x), new + update * (np.asarray(h) - new))


def test_the_lstm_is_its_formula(precision):
    cell = perturbed(LSTM(2, 3, key=jr.key(0)))
    x, (h, c) = jr.normal(jr.key(1), (2,)), jr.normal(jr.key(2), (2, 3))
    into, back, bias = weights(cell)
    i, f, g, o = np.split(into @ np.asarray(x) + back @ np.asarray(h) + bias, 4)

    def gate(z):
        return 1 / (1 + np.exp(-z))

    after = gate(f) * np.asarray(c) + gate(i) * np.tanh(g)
    carry = cell((h, c), x)
    assert_close(carry, (gate(o) * np.tanh(after), after))
    assert cell.hidden(carry) is carry[0]


@SINGLE_IS_SLOW
def test_the_transformer_is_its_formula(precision):
    cell = perturbed(Transformer(2, 4, heads=2, window=3, key=jr.key(0)), 1)
    xs = jr.normal(jr.key(1), (6, 2))

    def norm(z, layer):
        scale, shift = weights(layer)
        z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)
        return scale * z + shift

    W, b = weights(cell.embed)
    features = np.asarray(xs, np.float64) @ W.T + b
    for layer in cell.layers:
        (project,), (merge,) = weights(layer.project), weights(layer.merge)
        (slopes,) = weights(layer.slopes)
        W1, b1, W2, b2 = weights(layer.network)
        q, k, v = np.split(norm(features, layer.norms[0]) @ project.T, 3, -1)
        attended = np.zeros((6, 4))
        for i in range(6):
            for head in range(2):
                part = slice(2 * head, 2 * head + 2)
                seen = range(max(0, i - 2), i + 1)
                score = [
                    q[i, part] @ k[j, part] / 2**0.5 - slopes[head] * (i - j)
                    for j in seen
                ]
                share = np.exp(score) / np.sum(np.exp(score))
                attended[i, part] = share @ v[list(seen), part]
        features = features + attended @ merge.T
        z = norm(features, layer.norms[1]) @ W1.T + b1
        # Equinox's GELU is the approximate one, as is JAX's by default.
        z = z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        features = features + z @ W2.T + b2
    hidden, _ = cell.roll(None, xs, jnp.ones(6, bool))
    assert_close(hidden, norm(features, cell.norm))


def test_the_transformer_needs_heads_that_fit():
    with pytest.raises(ValueError, match="got hidden_size=6 and heads=4"):
        Transformer(2, 6, key=jr.key(0))


def test_the_neural_ode_solves_its_equation(double):
    model, (xs, ts) = make("neural ODE"), sequence()
    state = model.final(xs, ts)
    layers = [np.asarray(w) for w in weights(model.decoder.network)]
    context = np.asarray(state.theta)

    def field(y):
        z = np.concatenate([y, context])
        for i, (W, b) in enumerate(zip(layers[::2], layers[1::2])):
            z = W @ z + b
            z = z / (1 + np.exp(-z)) if i < 2 else z
        return 3.0 * 5 * np.tanh(z / 5)

    # Heun's rule in many small steps, against one step of the library's solver.
    y, count, ahead = np.asarray(xs[-1]), 500, 1e-3
    for _ in range(count):
        first = field(y)
        second = field(y + ahead / count * first)
        y = y + ahead / count * (first + second) / 2
    got = model.read(state, ts[-1] + ahead)
    np.testing.assert_allclose(got, y, rtol=0, atol=1e-7)
    assert_close(model.read(state, ts[-1]), xs[-1])


@pytest.mark.slow
def test_the_neural_ode_takes_inputs_that_it_does_not_predict(double):
    model = perturbed(neural_ode(2, 3, 1, 4, key=jr.key(0)))
    xs, ts = sequence()
    assert model(xs, ts).shape == (7, 1)
    slopes = jax.jacobian(lambda xs: model.read(model.final(xs, ts), 2.0))(xs)
    assert np.all(np.asarray(slopes) != 0)
