"""Second derivatives: the gradient's own gradient, through every way to roll."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj

from .helpers import assert_close, make_model, make_sequence, TRANSITIONS
from .oracle import Choices


LENGTH = 9
ROLLS = {
    "sequential": wj.SequentialRoll(),
    "segments": wj.SequentialRoll(segment=3),
    "chunks_of_2": wj.ChunkedRoll(2),
    "two_chunks_at_a_time": wj.ChunkedRoll(2, together=2),
    "associative": wj.AssociativeRoll(),
    "auto": wj.AutoRoll(),
}
FORCED = jnp.arange(LENGTH - 1) % 3 == 0


def called(model, xs, ts, mask):
    return model(xs, ts, mask=mask)


def last(model, xs, ts, mask):
    return model.last(xs, ts, mask=mask)


def unrolled(model, xs, ts, mask):
    return wj.unroll(model, xs, ts, FORCED)


def streamed(model, xs, ts, mask, fed=lambda x, y, forced: x):
    """Steps and reads by plain operations of JAX, which knows all their derivatives."""

    def step(state, inputs):
        x, t, counts, forced = inputs
        y = model.read(state, t)
        after = model.step(state, fed(x, y, forced), t)
        after = jax.tree.map(lambda a, b: jnp.where(counts, a, b), after, state)
        return after, (y, model.read(after, t))

    counts = jnp.ones(len(xs), bool) if mask is None else mask
    state = model.init(xs[0], ts[0])
    first = model.read(state, ts[0])
    _, (before, after) = lax.scan(step, state, (xs[1:], ts[1:], counts[1:], FORCED))
    return before, jnp.concatenate([first[None], after])


def all_streamed(*arguments):
    return streamed(*arguments)[1]


def last_streamed(*arguments):
    return streamed(*arguments)[1][-1]


def fed_streamed(*arguments):
    def fed(x, y, forced):
        return jnp.where(forced, x, y)

    return streamed(*arguments, fed=fed)[0]


def second(function, model, *arguments, by: str):
    """Returns the derivative of the gradient along a direction: by differentiating it
    forward, or backward again.
    """
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(weights)
    keys = jr.split(jr.key(7), len(leaves))
    ways = [jr.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    way = jax.tree.unflatten(structure, ways)

    def gradient(weights):
        def loss(weights):
            return jnp.sum((function(eqx.combine(weights, rest), *arguments) + 1) ** 3)

        return jax.grad(loss)(weights)

    def along(weights):
        parts = jax.tree.map(lambda g, w: jnp.sum(g * w), gradient(weights), way)
        return sum(jax.tree.leaves(parts))

    if by == "forward":
        return jax.jit(lambda w: jax.jvp(gradient, (w,), (way,))[1])(weights)
    return jax.jit(jax.grad(along))(weights)


def check_call(transition, roll, by):
    model = make_model(Choices(transition), roll=ROLLS[roll])
    xs, ts = make_sequence(LENGTH)
    want = second(all_streamed, model, xs, ts, None, by=by)
    assert_close(second(called, model, xs, ts, None, by=by), want)


@pytest.mark.parametrize("roll", ("sequential", "segments", "two_chunks_at_a_time"))
def test_second_derivatives_of_a_dense_call(roll, double):
    check_call("dense", roll, "backward")


@pytest.mark.parametrize("roll", ("segments", "two_chunks_at_a_time"))
def test_a_scan_in_a_scan_is_not_differentiated_forward_and_wrong(roll, double):
    with pytest.raises(TypeError, match="forward-mode"):
        check_call("dense", roll, "forward")


@pytest.mark.slow
@pytest.mark.parametrize("roll", ROLLS)
@pytest.mark.parametrize("transition", ("dense", "low_rank", "diagonal"))
def test_second_derivatives_of_a_call(transition, roll, double):
    check_call(transition, roll, "backward")
    if roll not in ("segments", "two_chunks_at_a_time"):
        check_call(transition, roll, "forward")


def check_transition(transition):
    model, (xs, ts) = make_model(Choices(transition)), make_sequence(LENGTH)
    holes = jnp.arange(LENGTH) % 4 != 1
    for ours, theirs, mask in (
        (called, all_streamed, holes),
        (last, last_streamed, None),
        (unrolled, fed_streamed, None),
    ):
        want = second(theirs, model, xs, ts, mask, by="backward")
        assert_close(second(ours, model, xs, ts, mask, by="backward"), want)


def test_second_derivatives_of_a_low_rank(double):
    check_transition("low_rank")


@pytest.mark.slow
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_second_derivatives_of_every_transition(transition, double):
    check_transition(transition)


@pytest.mark.parametrize("by", ("forward", "backward"))
@pytest.mark.parametrize("transition", ("dense", "low_rank"))
def test_second_derivatives_of_a_batch(transition, by, double):
    model, (xs, ts) = make_model(Choices(transition)), make_sequence(LENGTH)
    batch = jnp.stack([xs, 2 * xs, xs[::-1]])

    def each(function):
        return lambda model, xs: jax.vmap(lambda x: function(model, x, ts, None))(xs)

    want = second(each(fed_streamed), model, batch, by=by)
    assert_close(second(each(unrolled), model, batch, by=by), want)
