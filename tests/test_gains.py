"""What the parallel rolls make of a transition, and which roll is chosen for it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
import warp_jax._roll.associative as associative
import warp_jax._roll.auto as auto
import warp_jax._roll.convolution as convolution
from warp_jax._roll.base import powers

from .helpers import assert_close, make_model, make_sequence, TRANSITIONS
from .oracle import Choices


# Numbers in a gain of 14 weights, and the multiplications of composing two.
SIZES = {
    "dense": (14 * 14, 14**3),
    "diagonal": (14, 14),
    "block": (2 * 7 * 7, 2 * 7**3),
    "cut_block": (4 * 4 * 4, 4 * 4**3),
    "low_rank": (14 * 14, 14**3),
    "high_rank": (14 * 14, 14**3),
    "spectral": (14, 4 * 7),
    "oscillatory": (14, 4 * 7),
    "subspace_spectral": (14 * 14, 14**3),
    "subspace_dense": (14 * 14, 14**3),
}
# Diagonals, real or complex, act on each number alone, in whatever order.
COMMUTING = ("diagonal", "spectral", "oscillatory")


def two(name):
    """Returns two transitions of a kind with numbers of their own."""
    return [make_model(Choices(name), seed=seed).transition for seed in (0, 1)]


@pytest.mark.parametrize("name", TRANSITIONS)
def test_composed_gains_act_one_after_the_other(name, getkey, precision):
    first, second = two(name)
    early, late = first.gain(), second.gain()
    v = jr.normal(getkey(), (14,))
    both = first.compose(late, early)
    assert_close(first.act(early, v), first.matrix() @ v)
    assert_close(first.act(both, v), first.act(late, first.act(early, v)))
    assert_close(first.act(both, v), second.matrix() @ (first.matrix() @ v))
    swapped = first.act(first.compose(early, late), v)
    assert_close(swapped, first.matrix() @ (second.matrix() @ v))
    assert np.allclose(swapped, first.act(both, v), atol=1e-4) == (name in COMMUTING)


@pytest.mark.parametrize("name", TRANSITIONS)
def test_powers_are_those_of_the_matrix(name, double):
    transition = two(name)[0]
    A, B = (np.asarray(m) for m in (transition.matrix(), transition.input_matrix()))
    kernel, gains = powers(transition, transition.input_matrix().T, 8)
    want = [(np.linalg.matrix_power(A, s) @ B).T for s in range(8)]
    assert_close(kernel, np.stack(want))
    assert len(gains) == 4
    for i, gain in enumerate(gains):
        made = jax.vmap(transition.act, (None, 1), 1)(gain, jnp.eye(14))
        assert_close(made, np.linalg.matrix_power(A, 2**i))


def test_every_transition_says_what_its_gains_cost():
    assert set(SIZES) == set(TRANSITIONS)
    for name, sizes in SIZES.items():
        transition = two(name)[0]
        leaves = jax.tree.leaves(transition.gain())
        assert transition.gain_size == sum(leaf.size for leaf in leaves)
        assert (transition.gain_size, transition.compose_work) == sizes, name


@pytest.mark.parametrize(
    "name, coefficients",
    (("low_rank", 9), ("high_rank", None), ("dense", None), ("subspace_spectral", 4)),
)
def test_what_has_fewer_coefficients_than_weights_is_reduced(name, coefficients):
    transition = two(name)[0]
    theta = jnp.linspace(-1, 1, 14)
    reduction = transition.reduce(theta, transition.init(theta))
    assert (reduction is None) == (coefficients is None)
    if reduction is None:
        return
    assert reduction.start.shape == (coefficients,)
    assert reduction.transition.state_size == reduction.span.size == coefficients
    assert_close(reduction.span.theta(reduction.start), theta)


@pytest.fixture
def steps(monkeypatch):
    """Makes a step cost the same on every backend."""
    monkeypatch.setattr(auto, "STEP", dict.fromkeys(("cpu", "gpu", "tpu"), 3e5))


def low_rank(weights=3000):
    return wj.LowRankTransition(weights, 3, 16, key=jr.key(0))


def coefficients():
    return auto.rolled_by(low_rank())


def test_the_automatic_roll_goes_step_by_step_through_short_sequences(steps):
    for length in (1, 2, 4):
        assert wj.AutoRoll().resolve(coefficients(), length) == wj.SequentialRoll()


@pytest.mark.parametrize("last", (False, True))
def test_the_automatic_roll_cuts_long_sequences_of_coefficients(last, steps):
    roll = wj.AutoRoll().resolve(coefficients(), 1000, last=last)
    assert isinstance(roll, wj.ChunkedRoll)
    assert roll.chunk > 1 and roll.together is None
    # A state that cannot be held is made again, but the last one alone is no trouble.
    longer = wj.AutoRoll().resolve(coefficients(), 200_000, last=last)
    assert isinstance(longer, wj.ChunkedRoll)
    assert (longer.together is None) == last


def test_the_automatic_roll_bounds_the_memory_of_wide_states(steps):
    wide = eqx.filter_eval_shape(lambda: wj.DenseTransition(5000, 3))
    assert wj.AutoRoll().resolve(wide, 900) == wj.SequentialRoll(segment=30)
    assert wj.AutoRoll().resolve(wide, 800) == wj.SequentialRoll()


def test_the_choice_is_the_cheapest_one_explained(steps):
    told = wj.AutoRoll(batch=4).explain(low_rank(), 1000)
    roll = wj.AutoRoll(batch=4).resolve(coefficients(), 1000)
    heading, *options = told.splitlines()
    assert heading.startswith("LowRankTransition, rolled as 36 coefficients")
    assert "instead of 3000 weights; all states of 1000 steps, batch 4" in heading
    assert heading.endswith(str(roll)) and options[0].endswith(str(roll))
    costs = [float(option.split()[0]) for option in options]
    assert costs == sorted(costs) and len(costs) > 1
    whole = wj.AutoRoll().explain(wj.DenseTransition(14, 2), 8, last=True)
    assert whole.startswith("DenseTransition; the last state of 8 steps, batch 16")


@pytest.mark.parametrize("name", TRANSITIONS)
@pytest.mark.parametrize("last", (False, True))
def test_every_transition_is_explained(name, last, steps):
    transition = two(name)[0]
    told = wj.AutoRoll().explain(transition, 100, last=last)
    rolled = auto.rolled_by(transition)
    assert told.splitlines()[0].endswith(
        str(wj.AutoRoll().resolve(rolled, 100, last=last))
    )
    theta = jnp.zeros(14)
    reduction = transition.reduce(theta, transition.init(theta))
    assert ("rolled as" in told) == (reduction is not None)


def test_gains_too_many_to_hold_are_warned_of(monkeypatch, double):
    monkeypatch.setattr(associative, "KEPT", 900)
    xs, ts = make_sequence(6)
    model = make_model(roll=wj.AssociativeRoll())
    with pytest.warns(UserWarning, match="196 numbers for each of 5 steps of Dense"):
        got = model(xs, ts)
    assert_close(got, make_model(roll=wj.SequentialRoll())(xs, ts))
    # One that fits says nothing: any warning would fail the test.
    make_model(Choices("diagonal"), roll=wj.AssociativeRoll())(xs, ts)


def test_kernels_too_large_to_hold_are_warned_of(monkeypatch, double):
    monkeypatch.setattr(convolution, "KEPT", 139)
    xs, ts = make_sequence(6)
    model = make_model(roll=wj.ConvolutionRoll())
    with pytest.warns(UserWarning, match="140 numbers for 5 steps of Dense"):
        got = model(xs, ts)
    assert_close(got, make_model(roll=wj.SequentialRoll())(xs, ts))
    make_model(Choices("subspace_dense"), roll=wj.ConvolutionRoll())(xs, ts)


@pytest.mark.parametrize("name", TRANSITIONS)
def test_held_transitions_step_alike_and_keep_their_gradient(name, getkey, double):
    transition, keys = two(name)[0], [getkey() for _ in range(3)]
    theta, slope = jr.normal(keys[0], (2, 5, 14))
    dx = jr.normal(keys[1], (5, transition.input_size))

    def steps(transition, theta):
        return jnp.sum(slope * jax.vmap(transition.step)(theta, dx))

    def acts(transition, gain, theta):
        return jnp.sum(slope * jax.vmap(transition.act, (None, 0))(gain, theta))

    value, gradient = jax.value_and_grad(steps, 1)(transition, theta)
    held, held_gradient = jax.value_and_grad(steps, 1)(transition.held(), theta)
    assert_close(held, value)
    assert_close(held_gradient, gradient)
    gain = transition.gain()
    value, gradient = jax.value_and_grad(acts, 2)(transition, gain, theta)
    held, held_gradient = jax.value_and_grad(acts, 2)(
        transition, transition.hold(gain), theta
    )
    assert_close(held, value)
    assert_close(held_gradient, gradient)
    slopes = eqx.filter_grad(lambda t: steps(t.held(), theta))(transition)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slopes))
