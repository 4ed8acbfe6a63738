"""One step at a time, or in two parts, gives the numbers of one call."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same, CAUSAL_DRIVES, make_model, make_sequence
from .oracle import Choices
from .test_dropout import dropping, KEY
from .test_stacked import make_stack


jit = eqx.filter_jit


def streamed(model, state, xs, ts, queries):
    """Takes the steps of a sequence one by one from a state, and reads after each."""

    def step(state, inputs):
        x, t, query = inputs
        state = model.step(state, x, t)
        return state, model.read(state, query)

    return lax.scan(step, state, (xs, ts, queries))


@jit
def in_parts(model, xs, ts, queries, cut, key=None):
    """Returns outputs and last states: whole, streamed, and cut in two, both ways on."""
    first, second = (xs[:cut], ts[:cut]), (xs[cut:], ts[cut:], queries[cut:])
    start = model.init(xs[0], ts[0], key=key)
    state, outputs = streamed(model, start, xs[1:], ts[1:], queries[1:])
    beginning = model.read(start, queries[0])
    outputs = jnp.concatenate([beginning[None], outputs])
    middle = model.final(*first, key=key)
    last, rest = streamed(model, middle, *second)
    return {
        "whole": (model(xs, ts, queries, key=key), model.final(xs, ts, key=key)),
        "streamed": (outputs, state),
        "batch, then steps": (jnp.concatenate([outputs[:cut], rest]), last),
        "batch, then batch": (
            jnp.concatenate([outputs[:cut], model(*second, state=middle)]),
            model.final(*second[:2], state=middle),
        ),
    }


@jit
def slopes_in_parts(model, xs, ts, key):
    """Returns the gradients of a loss by each of these ways, of outputs and last states.

    They are in what is trained, the observations, and their times.
    """
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def losses(weights, xs, ts):
        model = eqx.combine(weights, rest)
        parts = in_parts(model, xs, ts, ts + 0.1, 3, key)
        # Of a state all counts that later steps go by, not the weights alone.
        parts = eqx.filter(parts, eqx.is_inexact_array)
        squares = jax.tree.map(lambda leaf: jnp.mean((leaf + 1) ** 2), parts)
        return {name: sum(jax.tree.leaves(part)) for name, part in squares.items()}

    return jax.jacrev(losses, (0, 1, 2))(weights, xs, ts)


def check_slopes_in_parts(model, key=None, sequence=None):
    xs, ts = sequence or make_sequence(7)
    slopes = slopes_in_parts(model, xs, ts, key)
    whole = slopes.pop("whole")
    # Gradients of zero would make the comparison empty.
    assert all(np.any(leaf) for leaf in jax.tree.leaves(whole))
    for name, part in slopes.items():
        assert_close(part, whole, name)


def check_values_in_parts(model, sequence=None):
    xs, ts = sequence or make_sequence(7)
    # The cut lies inside the first window of the convolution.
    parts = in_parts(model, xs, ts, ts + 0.1, 2)
    whole = parts.pop("whole")
    for name, part in parts.items():
        assert_close(part, whole, name)


def check_parts(drive, time_channel, decoder, transition="low_rank"):
    choices = Choices(transition, "learnt", drive, time_channel, decoder)
    check_values_in_parts(make_model(choices))


@pytest.mark.parametrize("drive, time_channel", CAUSAL_DRIVES)
def test_streams_and_parts_give_the_whole(drive, time_channel, double):
    check_parts(drive, time_channel, "observing" if time_channel else "network")


def test_streams_and_parts_give_the_whole_in_any_precision(precision):
    check_parts("causal", True, "network")


@pytest.mark.parametrize(
    "transition", ("high_rank", "spectral", "subspace_spectral", "subspace_dense")
)
def test_streams_and_parts_keep_what_a_transition_needs(transition, precision):
    check_parts("increments", False, "observing", transition)


@pytest.mark.parametrize("transition", ("low_rank", "subspace_spectral"))
def test_parts_have_the_gradients_of_the_whole(transition, double):
    check_slopes_in_parts(make_model(Choices(transition)))


# The last one holds increments, log-signatures and products, and a network.
ENOUGH = ("products", True), ("causal", True), ("embedded_joined", True)


@pytest.mark.parametrize(
    "drive, time_channel",
    [
        pytest.param(*drive, marks=() if drive in ENOUGH else pytest.mark.slow)
        for drive in CAUSAL_DRIVES
    ],
)
def test_parts_have_the_gradients_of_the_whole_by_every_drive(
    drive, time_channel, double
):
    decoder = "observing" if time_channel else "network"
    choices = Choices("low_rank", "learnt", drive, time_channel, decoder)
    check_slopes_in_parts(make_model(choices))


@pytest.mark.parametrize(
    "transition",
    ("subspace_spectral", pytest.param("subspace_dense", marks=pytest.mark.slow)),
)
def test_parts_that_drop_modes_have_the_gradients_of_the_whole(transition, double):
    model = dropping(Choices(transition, drive="causal", time_channel=True))
    check_slopes_in_parts(model, KEY)


def test_parts_of_a_stack_have_the_gradients_of_the_whole(double):
    check_slopes_in_parts(make_stack())


@pytest.mark.slow
def test_parts_of_a_stack_that_drops_modes_have_the_gradients_of_the_whole(double):
    stack = make_stack()
    place = lambda stack: stack.layers[0].model.transition  # noqa: E731
    drops = eqx.tree_at(place, stack, replace_fn=lambda t: wj.ModeDropout(t, 0.5))
    check_slopes_in_parts(drops, KEY)


def test_a_subspace_keeps_its_coefficients_beside_the_weights(precision):
    model, (xs, ts) = make_model(Choices("subspace_spectral")), make_sequence(7)
    state = model.init(xs[0], ts[0])
    assert not np.any(state.hidden)
    final = jit(model.final)(xs, ts)
    assert isinstance(model.transition, wj.SubspaceTransition)
    displacement = model.transition.P @ final.hidden
    assert_close(final.theta, state.theta + displacement)
    assert final.hidden.shape == (4,)
    assert make_model().init(xs[0], ts[0]).hidden is None


@pytest.mark.parametrize("length", (1, 2))
def test_the_shortest_sequences_stream(length, precision):
    model, (xs, ts) = make_model(Choices(drive="causal")), make_sequence(length)
    state = model.init(xs[0], ts[0])
    for x, t in zip(xs[1:], ts[1:]):
        state = model.step(state, x, t)
    assert_close(state, jit(model.final)(xs, ts))
    assert_close(model.read(state, ts[-1]), jit(model)(xs, ts)[-1])


def test_weights_and_last_continue_too(precision):
    model, (xs, ts) = make_model(), make_sequence(7)
    middle = jit(model.final)(xs[:3], ts[:3])
    rest = jit(model.weights)(xs[3:], ts[3:], state=middle)
    assert_close(rest, jit(model.weights)(xs, ts)[3:])
    last = jit(model.last)(xs[3:], ts[3:], state=middle)
    assert_close(last, jit(model.last)(xs, ts))


def test_the_first_weights_are_the_initial_state(precision):
    model, (xs, ts) = make_model(), make_sequence(7)
    assert_close(jit(model.weights)(xs, ts)[0], model.initial(xs[0]))
    assert_close(model.init(xs[0]).theta, model.initial(xs[0]))


def test_a_batch_of_streams_is_its_streams(double):
    model = make_model(Choices(drive="causal", time_channel=True))
    sequences = [make_sequence(5, seed) for seed in range(3)]
    xs, ts = (jnp.stack(arrays) for arrays in zip(*sequences))

    @jit
    def batch(model, xs, ts):
        states = jax.vmap(model.init)(xs[:, 0], ts[:, 0])
        arguments = xs[:, 1:], ts[:, 1:], ts[:, 1:]
        return jax.vmap(lambda *a: streamed(model, *a))(states, *arguments)

    states, outputs = batch(model, xs, ts)
    assert_close(outputs, jit(jax.vmap(model))(xs, ts)[:, 1:])
    for i, (x, t) in enumerate(sequences):
        assert_close(jax.tree.map(lambda a, i=i: a[i], states), jit(model.final)(x, t))


def test_jit_changes_no_step(precision):
    model, (xs, ts) = make_model(), make_sequence(2)
    state = model.init(xs[0], ts[0])
    assert_close(jit(model.step)(state, xs[1], ts[1]), model.step(state, xs[1], ts[1]))


def test_any_state_can_be_read_at_any_time(double):
    model, (xs, ts) = make_model(), make_sequence(7)
    state = jit(model.final)(xs, ts)
    times = jnp.array([0.0, 0.3, 2.0])
    many = jax.vmap(lambda time: model.read(state, time))(times)
    for time, output in zip(times, many):
        assert_close(jit(model.last)(xs, ts, time), output)


def test_times_are_spread_over_zero_to_one_by_default(double):
    model, (xs, _) = make_model(Choices(time_channel=True)), make_sequence(7)
    assert_same(jit(model)(xs), jit(model)(xs, jnp.linspace(0, 1, 7)))
    assert_same(jit(model)(xs[:1]), jit(model)(xs[:1], jnp.zeros(1)))


def test_a_noncausal_drive_refuses_to_stream():
    model, (xs, ts) = make_model(Choices(drive="noncausal")), make_sequence(4)
    with pytest.raises(ValueError, match="sees the future"):
        model.step(model.init(xs[0]), xs[1], 0.1)
    with pytest.raises(ValueError, match="cannot continue"):
        model(xs, ts + ts[-1], state=jit(model.final)(xs, ts))
    with pytest.raises(ValueError, match="sees the future"):
        wj.forecast(model, xs, 2)
    with pytest.raises(ValueError, match="sees the future"):
        wj.unroll(model, xs, forcing=1)
