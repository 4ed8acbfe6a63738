"""The parts that only `ablations` has: read-outs, a fixed A, losses, and its figures."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj
from experiments import _inside as inside
from experiments._data import Pictures, Split
from experiments._problems import halved
from experiments._recipes import Recipe, Shape, single
from experiments._tasks import Forecast, Unrolled
from experiments._windows import DirectForecast

from .helpers import assert_close, named_arrays, perturbed
from .test_ablations import FORECAST, made, model_of, SHAPE, SMALL
from .test_experiments import broadcasting as broadcasting
from .test_forecast import MeanDecoder


def test_the_identity_stays_and_the_state_holds_what_changed_since_the_start(
    broadcasting,
):
    model = perturbed(model_of("A: fixed to I"), 1, 0.1)
    xs = jr.normal(jr.key(1), (6, 12, 2))
    labels = jnp.arange(6) % 3
    before = model.transition.P

    def loss(model, batch, key):
        logits = jax.vmap(lambda xs: model.last(xs, query=1.0))(xs)
        return jnp.mean(jax.vmap(wj.cross_entropy)(logits, labels))

    model, _ = wj.fit(
        model, loss, lambda step: None, optax.adam(1e-2), steps=4, key=jr.key(2)
    )
    B = np.asarray(model.transition.input_matrix(), float)
    assert np.abs(B - np.asarray(before)).min() > 1e-4
    size = model.decoder.state_size
    np.testing.assert_array_equal(model.transition.matrix(), np.eye(size))
    first = np.asarray(model.initial(xs[0, 0]), float)
    moved = np.asarray(xs[0] - xs[0, 0], float)
    wanted = first + moved @ B.T
    # Whatever happens between: the same end from another path.
    other = xs[0].at[1:-1].set(jr.normal(jr.key(3), (10, 2)))
    thetas = jax.jit(lambda xs: jax.vmap(model.weights)(xs))(jnp.stack([xs[0], other]))
    np.testing.assert_allclose(thetas[0], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(thetas[1, -1], wanted[-1], rtol=1e-4, atol=1e-5)
    assert np.abs(thetas[1, 5] - thetas[0, 5]).max() > 1e-2


def silu(x):
    return x / (1 + np.exp(-x))


def by_hand(arrays, model, xs, ts):
    """Returns outputs in double precision, from A and B as matrices, one step at a time."""
    A = np.asarray(model.transition.matrix(), float)
    B = np.asarray(model.transition.input_matrix(), float)
    hidden = [*model.initial.layers]
    theta = np.asarray(xs[0], float)
    for i, layer in enumerate(hidden):
        theta = np.asarray(layer.weight, float) @ theta + np.asarray(layer.bias, float)
        theta = silu(theta) if i + 1 < len(hidden) else theta
    outputs = []
    for t, x in enumerate(np.asarray(xs, float)):
        if t:
            theta = A @ theta + B @ (x - np.asarray(xs[t - 1], float))
        y = np.concatenate([theta, [ts[t]], x])
        for i, (weight, bias) in enumerate(arrays):
            y = weight @ y + bias
            y = silu(y) if i + 1 < len(arrays) else y
        outputs.append(y)
    return np.stack(outputs)


@pytest.mark.parametrize("name, layers", (("linear", 1), ("separate, equal D_θ", 2)))
def test_read_outs_of_the_state_are_what_they_are_by_hand(name, layers, precision):
    base = dataclasses.replace(SMALL, observe=True)
    model = perturbed(model_of(f"decoder: {name}", base), 3, 0.1)
    xs, ts = jr.normal(jr.key(1), (5, 2)), jnp.linspace(0.1, 0.9, 5)
    function = model.decoder.function
    found = [function] if layers == 1 else function.layers
    assert len(found) == layers
    arrays = [tuple(np.asarray(a, float) for a in (f.weight, f.bias)) for f in found]
    assert_close(
        eqx.filter_jit(model)(xs, ts), by_hand(arrays, model, xs, np.asarray(ts))
    )
    # The slope along a direction of the read-out's weights.
    noise = np.random.default_rng(0)
    along = [[noise.standard_normal(a.shape) for a in pair] for pair in arrays]

    def moved(h):
        pairs = [
            [a + h * d for a, d in zip(pair, step)] for pair, step in zip(arrays, along)
        ]
        return np.sum(np.sin(by_hand(pairs, model, xs, np.asarray(ts))))

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    total = lambda model: jnp.sum(jnp.sin(model(xs, ts)))  # noqa: E731
    gradient = eqx.filter_jit(eqx.filter_grad(total))(model)
    leaves = jax.tree.leaves(gradient.decoder)
    steps = [d for pair in along for d in pair]
    got = sum(np.sum(np.asarray(g, float) * d) for g, d in zip(leaves, steps))
    assert abs(got / slope - 1) < 1e-4
    assert all(np.abs(g).max() > 0 for g in named_arrays(gradient.transition).values())


def test_unrolled_with_the_truth_is_the_usual_training(broadcasting):
    task = Unrolled(3, forcing=1.0)
    model = perturbed(model_of("decoder: linear", FORECAST), 5, 0.1)
    model = eqx.tree_at(
        lambda m: m.decoder,
        model,
        wj.ActivatedDecoder(model.decoder, lambda y: y[:2]),
    )
    xs = jr.normal(jr.key(1), (4, 6, 2))
    batch = Split(xs, np.zeros(4, np.int32))  # pyright: ignore[reportArgumentType]
    got, usual, free = (
        eqx.filter_jit(asked.loss)(model, batch, jr.key(0))
        for asked in (task, Forecast(3), dataclasses.replace(task, forcing=0.0))
    )
    np.testing.assert_allclose(got, usual, rtol=1e-5)
    assert abs(free / got - 1) > 1e-3


def ahead(model, xs, ts):
    return model(xs[:-1], ts[:-1], ts[1:])


def at_once(model, xs, ts):
    return jax.vmap(model.read, (None, 0))(model.final(xs[:3], ts[:3]), ts[3:])


@pytest.mark.parametrize(
    "task, outputs",
    ((Unrolled(3, forcing=1.0), ahead), (DirectForecast(3), at_once)),
)
def test_a_density_is_trained_by_its_likelihood_and_tested_by_its_mean(
    task, outputs, broadcasting
):
    base = Recipe(task, weights=40)
    shape = Shape(2, 2, 6, 6)
    recipe = made("loss: NLL", base)
    model = perturbed(recipe.model(shape, jr.key(0)), 5, 0.05)
    xs = jr.normal(jr.key(1), (4, 6, 2))
    batch = Split(xs, np.zeros(4, np.int32))  # pyright: ignore[reportArgumentType]
    ts = jnp.linspace(0, 1, 6)
    found = eqx.filter_jit(jax.vmap(outputs, (None, 0, None)))(model, xs, ts)
    target = np.asarray(xs[:, -found.mean.shape[1] :], float)
    mean, std = np.asarray(found.mean, float), np.asarray(found.std, float)
    errors = ((target - mean) / std) ** 2
    wanted = np.mean(np.log(std) + errors / 2 + np.log(2 * np.pi) / 2)
    got = eqx.filter_jit(recipe.task.loss)(model, batch, jr.key(0))
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    # What is scored, and fed back, is the mean.
    certain = eqx.tree_at(lambda m: m.decoder, model, MeanDecoder(model.decoder))
    score = recipe.task.validate(batch)
    np.testing.assert_allclose(score(certain), score(model), rtol=1e-5)


def test_halved_pictures_have_the_means_of_four_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 2), np.uint8)
    found = halved(Pictures(pixels, np.arange(3))).pixels
    assert found.shape == (3, 2, 2, 2) and found.dtype == np.uint8
    for n, i, j, c in np.ndindex(*found.shape):
        four = pixels[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c].astype(float)
        assert abs(found[n, i, j, c] - four.mean()) <= 0.5


def test_modes_move_by_their_eigenvalues_alone():
    A = np.eye(9) + 0.3 * np.random.default_rng(1).standard_normal((9, 9))
    values, vectors = inside.modes_of(A)
    assert len(values) >= 5 and np.all(np.imag(values) >= 0)
    theta = np.random.default_rng(2).standard_normal(9)
    np.testing.assert_allclose(vectors @ (A @ theta), values * (vectors @ theta))
    angle = 2 * np.pi * 3 / 50
    turns, growth = inside.scales(np.array([0.98 * np.exp(1j * angle), 1.0]), 50)
    np.testing.assert_allclose(turns, [3, 0])
    np.testing.assert_allclose(growth, [50 * np.log(0.98), 0])


def test_layers_share_a_state_between_them():
    decoder = single(SMALL, SHAPE, jr.key(0)).decoder
    assert isinstance(decoder, wj.NetworkDecoder)
    found = inside.layers_of(decoder)
    every = np.concatenate(list(found.values()))
    np.testing.assert_array_equal(np.sort(every), np.arange(decoder.state_size))
    theta = jr.normal(jr.key(1), (decoder.state_size,))
    last = decoder.unflatten(theta).layers[-1]
    wanted = np.concatenate([np.ravel(last.weight), last.bias])
    np.testing.assert_array_equal(theta[found["layer 2"]], wanted)
