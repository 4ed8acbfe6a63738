"""Means of read-outs: of models that are no WARP, and with what else a call may have."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, make_model, make_sequence, perturbed
from .oracle import Choices


class Leaky(wj.AbstractModel):
    """A baseline in a few lines: a leaky sum of the observations, read as it is."""

    keep: jax.Array

    def step(self, state, x, t):
        return wj.State(self.keep * state.theta + x, x, jnp.asarray(t, x.dtype))

    def init(self, x, t=0.0, *, key=None):
        noise = 0 * x if key is None else jr.normal(key, x.shape, x.dtype)
        return wj.State(x + noise, x, jnp.asarray(t, x.dtype))

    def read(self, state, time):
        return jnp.tanh(state.theta) * (1 + time)

    def final(self, xs, ts=None, *, mask=None, state=None, key=None):
        ts = jnp.linspace(0, 1, len(xs)) if ts is None else ts
        valid = jnp.ones(len(xs), bool) if mask is None else mask
        if state is None:
            state, valid = self.init(xs[0], ts[0], key=key), valid.at[0].set(False)
        for x, t, moves in zip(xs, ts, valid):
            after = self.step(state, x, t)
            state = jax.tree.map(lambda a, b, m=moves: jnp.where(m, a, b), after, state)
        return state

    def __call__(self, xs, ts=None, queries=None, mask=None, *, state=None, key=None):
        raise NotImplementedError


def chosen(valid: list[int], reads: int) -> list[int]:
    """Returns the steps that are read: evenly among the valid ones, the last included."""
    return [valid[-(-(i + 1) * len(valid) // reads) - 1] for i in range(reads)]


def by_hand(model, xs, ts, valid, reads, query=None, key=None):
    """Reads a stream after each chosen step, and averages."""
    state = model.init(xs[valid[0]], ts[valid[0]], key=key)
    read = {}
    for i in valid:
        if i != valid[0]:
            state = model.step(state, xs[i], ts[i])
        read[i] = model.read(state, ts[i] if query is None else query)
    return sum(read[i] for i in chosen(valid, reads)) / reads


def test_the_read_outs_lie_evenly_and_end_with_the_last():
    assert chosen(list(range(8)), 4) == [1, 3, 5, 7]
    assert chosen(list(range(7)), 3) == [2, 4, 6]
    assert chosen([1, 4], 3) == [1, 4, 4]


@pytest.mark.parametrize("holes", ((), (0, 3, 8)), ids=("whole", "holes"))
@pytest.mark.parametrize("reads", (1, 3, 20))
def test_any_model_can_be_pooled(reads, holes, double):
    xs, ts = make_sequence(9)
    valid = [i for i in range(9) if i not in holes]
    mask = jnp.isin(jnp.arange(9), jnp.array(valid)) if holes else None

    @eqx.filter_jit
    def both(function):
        loss = lambda keep: jnp.sum(function(Leaky(keep)))  # noqa: E731
        return function(Leaky(jnp.array(0.7))), jax.grad(loss)(jnp.array(0.7))

    got = both(lambda model: wj.Pooled(model, reads)(xs, ts, mask=mask))
    assert_close(got, both(lambda model: by_hand(model, xs, ts, valid, reads)))


@pytest.mark.parametrize(
    "choices",
    (
        Choices(),
        Choices("low_rank", drive="causal"),
        Choices("subspace_spectral"),
        Choices("subspace_dense"),
    ),
)
def test_pooling_hands_on_all_that_a_state_keeps(choices, double):
    model, (xs, ts) = make_model(choices), make_sequence(9)
    valid = [2, 3, 5, 6, 8]
    mask = jnp.isin(jnp.arange(9), jnp.array(valid))
    dirty = jnp.where(mask[:, None], xs, jnp.nan)
    got = eqx.filter_jit(wj.Pooled(model, 3))(dirty, ts, mask=mask)
    assert_close(got, by_hand(model, xs, ts, valid, 3))


def test_no_gradient_meets_what_padding_holds(double):
    """With more read-outs than valid steps, so that some are of padding alone."""
    model = perturbed(make_model(Choices(drive="causal")))
    xs, _ = make_sequence(5)
    mask = jnp.array([False, True, True, False, False])
    dirty = jnp.where(mask[:, None], xs, jnp.nan)

    def total(model, xs):
        return jnp.sum(wj.Pooled(model, 4)(xs, mask=mask))

    gradient = eqx.filter_jit(eqx.filter_grad(total))
    assert_close(gradient(model, dirty), gradient(model, xs))


def test_one_time_may_be_asked_of_all_read_outs(double):
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(7)
    every = list(range(7))
    got = wj.Pooled(model, 3).last(xs, ts, 0.75)
    assert_close(got, by_hand(model, xs, ts, every, 3, query=0.75))
    even = jnp.linspace(0, 1, 7)
    assert_close(wj.Pooled(model, 3)(xs), by_hand(model, xs, even, every, 3))


def test_one_read_out_is_the_last(precision):
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(7)
    assert_close(wj.Pooled(model, 1)(xs, ts), model.last(xs, ts))


def test_the_key_reaches_the_initial_state(getkey, double):
    xs, ts = make_sequence(5)
    model, key = Leaky(jnp.array(0.7)), getkey()
    got = wj.Pooled(model, 2)(xs, ts, key=key)
    assert_close(got, by_hand(model, xs, ts, list(range(5)), 2, key=key))
    assert not np.allclose(got, wj.Pooled(model, 2)(xs, ts))


def test_a_batch_is_pooled_with_masks_of_its_own(double):
    model = wj.Pooled(make_model(Choices("low_rank")), 3)
    sequences = [make_sequence(6, seed) for seed in range(2)]
    xs, ts = (jnp.stack(arrays) for arrays in zip(*sequences))
    masks = jnp.arange(6)[None] < jnp.array([[6], [2]])
    call = lambda x, t, mask: model(x, t, mask=mask)  # noqa: E731
    many = eqx.filter_jit(jax.vmap(call))(xs, ts, masks)
    assert_close(many[0], model(xs[0], ts[0]))
    assert_close(many[1], model(xs[1, :2], ts[1, :2]))


def test_what_sees_the_future_cannot_be_pooled():
    model, (xs, ts) = make_model(Choices(drive="noncausal")), make_sequence(4)
    with pytest.raises(ValueError, match="cannot continue"):
        wj.Pooled(model, 2)(xs, ts)


def test_pooled_gaussians_are_their_mixture(double):
    model = make_model(Choices("low_rank", decoder="gaussian"))
    xs, ts = make_sequence(6)
    one, each = wj.Pooled(model, 3).last(xs, ts, 0.4), model(xs, ts, jnp.full(6, 0.4))
    read = jnp.array([1, 3, 5])
    mean = jnp.mean(each.mean[read], axis=0)
    second = jnp.mean(each.std[read] ** 2 + each.mean[read] ** 2, axis=0)
    assert_close(one.mean, mean)
    assert_close(one.std, jnp.sqrt(second - mean**2))


def test_pooled_refuses_what_is_no_model():
    other: Any = jnp.tanh
    with pytest.raises(TypeError, match="needs a model"):
        wj.Pooled(other, 4)
    with pytest.raises(ValueError, match="reads >= 1"):
        wj.Pooled(make_model(), 0)


def test_bad_sequences_are_refused():
    model, (xs, ts) = wj.Pooled(make_model(), 2), make_sequence(4)
    refused: Any = (
        ((xs[0],), "2 axes"),
        ((xs[:0],), "at least one step"),
        ((xs, ts, None, jnp.zeros(4, bool)), "without a single valid step"),
        ((xs, ts, None, jnp.ones(3, bool)), "`mask` with 4 steps"),
        ((xs, ts[:3]), "`ts` with 4 steps"),
    )
    for arguments, message in refused:
        with pytest.raises(ValueError, match=message):
            model(*arguments)
