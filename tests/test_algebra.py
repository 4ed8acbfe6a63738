"""The statements of docs/algebra.md, to rounding."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, make_model, perturbed, x64
from .oracle import Choices, INPUT


@pytest.fixture(autouse=True)
def double():
    with x64(True):
        yield


def sequence(length, channels=2):
    return np.random.default_rng(3).standard_normal((length, channels))


@pytest.mark.parametrize("transition", ("dense", "low_rank", "subspace_spectral"))
def test_all_memory_of_the_path_is_in_A_minus_I(transition):
    model = make_model(Choices(transition=transition))
    xs = sequence(7, INPUT)
    A, B = model.transition.matrix(), model.transition.input_matrix()
    start = np.asarray(model.initial(jnp.asarray(xs[0])))
    # Of a subspace A moves what the state has left its start by.
    origin = start if transition.startswith("subspace") else 0 * start
    power = np.linalg.matrix_power
    A, B, last = np.asarray(A), np.asarray(B), len(xs) - 1
    wanted = origin + power(A, last) @ (start - origin)
    wanted = wanted + B @ xs[last] - power(A, last - 1) @ B @ xs[0]
    for s in range(1, last):
        wanted = wanted + power(A, last - s - 1) @ (A - np.eye(len(A))) @ B @ xs[s]
    assert_close(model.weights(jnp.asarray(xs))[-1], wanted)


@pytest.mark.parametrize("transition", ("dense", "low_rank", "subspace_spectral"))
def test_the_state_has_no_product_of_observations(transition):
    model = make_model(Choices(transition=transition))
    xs = jnp.asarray(sequence(5, INPUT))

    def state(later):
        return model.weights(jnp.concatenate([xs[:1], later]))[-1]

    curvature = jax.jit(jax.hessian(state))(xs[1:])
    assert float(np.abs(curvature).max()) < 1e-12
    assert np.abs(jax.jit(jax.jacobian(state))(xs[1:])).max() > 1e-2


@pytest.mark.parametrize(
    "drive", (wj.Products(time_channel=False), wj.LogSignature(2, window=3))
)
def test_a_drive_of_products_has_them(drive):
    """Of two observations, and of no more: along a line the state is a parabola."""
    model = wj.WARP(
        decoder=wj.NetworkDecoder(eqx.nn.Linear(1, 1, key=jr.key(0))),
        transition=perturbed(wj.DenseTransition(2, drive.size(2)), 1),
        initial=wj.LearntInitial(jnp.zeros(2)),
        drive=drive,
    )
    along = sequence(12)[6:]
    paths = sequence(6) + np.arange(5)[:, None, None] * along
    states = np.asarray(jax.jit(jax.vmap(model.weights))(jnp.asarray(paths)))[:, -1]
    assert np.abs(np.diff(states, 2, axis=0)).min() > 1e-3
    assert_close(np.diff(states, 3, axis=0), np.zeros((2, 2)))


@pytest.mark.parametrize("layers", (1, 2, 3))
def test_a_network_of_so_many_layers_makes_polynomials_of_that_degree(layers):
    linear = lambda x: x  # noqa: E731
    network = eqx.nn.MLP(1, 1, 3, layers - 1, linear, key=jr.key(0))
    decoder = wj.NetworkDecoder(network)
    size = decoder.state_size
    transition = perturbed(wj.DenseTransition(size, 2), 1, 0.1)
    initial = wj.LearntInitial(decoder.flatten(network).astype(float))
    model = wj.WARP(decoder=decoder, transition=transition, initial=initial)
    along = sequence(12)[6:]
    paths = sequence(6) + np.arange(layers + 2)[:, None, None] * along
    outputs = jax.jit(jax.vmap(model.last))(jnp.asarray(paths))[:, 0]
    differences = np.diff(np.asarray(outputs), layers)
    assert np.abs(differences).min() > 1e-6
    assert np.ptp(differences) < 1e-9 * max(1, np.abs(outputs).max())


def test_a_mode_keeps_so_much_of_what_went_by():
    decay = np.array([0.9, 0.5])
    transition = perturbed(wj.DiagonalTransition(2, 1), 1)
    transition = eqx.tree_at(lambda made: made.a, transition, jnp.asarray(decay))
    model = wj.WARP(
        decoder=wj.NetworkDecoder(eqx.nn.Linear(1, 1, key=jr.key(0))),
        transition=transition,
        initial=wj.LearntInitial(jnp.zeros(2)),
    )
    xs = jnp.asarray(sequence(7, 1))
    kept = jax.jacobian(lambda xs: model.weights(xs)[-1])(xs)[:, ::-1, 0]
    ago = np.arange(1, len(xs) - 1)
    share = (decay[:, None] - 1) * decay[:, None] ** (ago - 1)
    assert_close(kept[:, 1:-1], share * np.asarray(transition.B))
    assert_close(kept[:, 0], np.asarray(transition.B)[:, 0])


def test_low_rank_remembers_as_many_numbers_as_its_rank():
    rank, size, channels = 4, 30, 2
    transition = wj.LowRankTransition(size, channels, rank, length=9, key=jr.key(0))
    # The factor of I stays at one.
    moved = perturbed((transition.V, transition.B), 4, 0.2)
    transition = eqx.tree_at(lambda t: (t.V, t.B), transition, moved)
    xs = jnp.asarray(sequence(9))
    theta = jr.normal(jr.key(2), (size,))

    def end(later):
        step = lambda theta, dx: (transition.step(theta, dx), None)  # noqa: E731
        dxs = jnp.diff(jnp.concatenate([xs[:1], later]), axis=0)
        return jax.lax.scan(step, theta, dxs)[0]

    slopes = jax.jit(jax.jacobian(end))(xs[1:]).reshape(size, -1)
    values = np.linalg.svd(slopes, compute_uv=False)
    assert values[rank + channels - 1] > 1e-3 > 1e-10 > values[rank + channels]
    # Of what lies before the latest observation, the rank alone.
    before = np.linalg.svd(slopes[:, :-channels], compute_uv=False)
    assert before[rank - 1] > 1e-4 > 1e-10 > before[rank]
