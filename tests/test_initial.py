"""x_0 to theta_0, and where transitions start."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same, make_model, TRANSITIONS
from .oracle import Choices


def widths(initial):
    return [layer.out_features for layer in initial.layers]


@pytest.mark.parametrize(
    "depth, expected",
    ((0, [50]), (1, [26, 50]), (2, [18, 34, 50]), (3, [14, 26, 38, 50])),
)
def test_hidden_widths_go_evenly_from_input_to_state(depth, expected):
    assert widths(wj.Hypernetwork(2, 50, depth, key=jr.key(0))) == expected


def test_one_width_may_be_set_for_all():
    assert widths(wj.Hypernetwork(2, 50, 3, width=7, key=jr.key(0))) == [7, 7, 7, 50]


@pytest.mark.parametrize("depth", (0, 1, 2))
def test_a_last_matrix_in_two_factors_is_a_thin_one(depth, getkey, precision):
    initial = wj.Hypernetwork(2, 50, depth, width=7, rank=3, key=getkey())
    assert widths(initial) == [7] * depth + [3, 50]
    ins = [2, *widths(initial)]
    count = sum((i + 1) * o for i, o in itertools.pairwise(ins))
    assert sum(leaf.size for leaf in jax.tree.leaves(initial.layers)) == count
    # The factors are one linear layer: nothing bends between them.
    x = jr.normal(getkey(), (2,))
    layers: Any = initial.layers
    *hidden, first, second = layers
    h = x
    for layer in hidden:
        h = jax.nn.silu(layer.weight @ h + layer.bias)
    matrix = second.weight @ first.weight
    want = matrix @ h + second.weight @ first.bias + second.bias
    assert_close(initial(x), want)


def test_a_thin_hypernetwork_starts_around_the_weights_given(getkey):
    theta = jr.normal(getkey(), (5,))
    initial = wj.Hypernetwork(2, 5, rank=2, theta=theta, key=getkey())
    assert_same(initial.layers[-1].bias, theta)


def test_a_hypernetwork_is_affine_without_hidden_layers(getkey, precision):
    initial = wj.Hypernetwork(2, 5, 0, key=getkey())
    x, y = jr.normal(getkey(), (2, 2))
    assert_close(initial(x + y) + initial(jnp.zeros(2)), initial(x) + initial(y))


def test_a_hypernetwork_starts_around_the_weights_given(getkey):
    theta = jr.normal(getkey(), (5,))
    initial = wj.Hypernetwork(2, 5, theta=theta, key=getkey())
    assert_same(initial.layers[-1].bias, theta)
    with pytest.raises(ValueError, match=r"\(5,\); got \(4,\)"):
        wj.Hypernetwork(2, 5, theta=theta[:4], key=getkey())


def test_layers_start_from_keys_of_their_own(getkey):
    layers = wj.Hypernetwork(4, 4, 2, key=getkey()).layers
    weights = [layer.weight for layer in layers]
    assert not any(np.allclose(weights[0], other) for other in weights[1:])


def test_a_learnt_state_is_the_same_for_all(getkey):
    theta = jr.normal(getkey(), (5,))
    initial = wj.LearntInitial(theta)
    assert_same(initial(jr.normal(getkey(), (2,))), theta)
    assert initial.state_size == 5


def test_noise_needs_a_key(getkey, precision):
    inner = wj.Hypernetwork(2, 5, key=getkey())
    noisy, x, key = wj.NoisyInitial(inner, 0.3), jr.normal(getkey(), (2,)), getkey()
    assert_same(noisy(x), inner(x))
    assert_same(noisy(x, key=key), noisy(x, key=key))
    keys = jr.split(getkey(), 2000)
    noise = jax.vmap(lambda key: noisy(x, key=key))(keys) - inner(x)[None]
    assert np.allclose(noise.mean(0), 0, atol=0.05)
    assert np.allclose(noise.std(0), 0.3, atol=0.05)


def test_a_model_hands_its_key_to_the_initial_state(getkey, double):
    model, xs, key = make_model(), jr.normal(getkey(), (4, 2)), getkey()
    noisy = wj.WARP(
        decoder=model.decoder,
        transition=model.transition,
        initial=wj.NoisyInitial(model.initial, 0.3),
    )
    assert_same(noisy(xs), model(xs))
    theta = noisy.initial(xs[0], key=jr.split(key)[0])
    assert_same(noisy.init(xs[0], key=key).theta, theta)
    assert_same(noisy.weights(xs, key=key)[0], theta)
    assert not np.any(np.isclose(noisy(xs, key=key), model(xs)))
    assert not np.any(np.isclose(noisy.last(xs, key=key), model.last(xs)))


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_the_matrices_are_what_a_step_does(transition, getkey, precision):
    transition = make_model(Choices(transition)).transition
    theta = jr.normal(getkey(), (14,))
    dx = jr.normal(getkey(), (2,))
    A, B = transition.matrix(), transition.input_matrix()
    assert A.shape == (14, 14) and B.shape == (14, 2)
    assert_close(transition.apply(theta), A @ theta)
    assert_close(transition.inject(dx), B @ dx)
    assert_close(transition.step(theta, dx), A @ theta + B @ dx)


@pytest.mark.parametrize("transition", ("dense", "diagonal", "block", "cut_block"))
def test_transitions_start_at_the_identity_and_at_zero(transition):
    transition = TRANSITIONS[transition](14, 3)
    assert_same(transition.matrix(), jnp.eye(14))
    assert_same(transition.input_matrix(), jnp.zeros((14, 3)))


def test_a_low_rank_transition_starts_nearer_the_identity_for_longer_sequences():
    def start(length):
        return wj.LowRankTransition(20, 3, 5, key=jr.key(0), length=length)

    assert start(100).a == 1 and not np.any(start(100).B)
    sizes = [
        np.linalg.norm(start(n).matrix() - jnp.eye(20)) for n in (100, 1000, 10_000)
    ]
    assert np.all(np.isfinite(sizes)) and sizes[0] > sizes[1] > sizes[2] > 0
    assert start(100).U.shape == start(100).V.shape == (20, 5)
