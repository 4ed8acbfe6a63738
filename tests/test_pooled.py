"""Means of read-outs: of models that are no WARP, and with what else a call may have."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import assert_close, joined, make_model, make_sequence, named_arrays
from .oracle import Choices


LENGTH, HOLES = 9, (0, 3, 8)


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


def average(outputs):
    return sum(outputs) / len(outputs)


def by_hand(model, xs, ts, valid, reads, query=None, key=None, combine=average):
    """Reads a stream after each chosen step, and averages unless told otherwise."""
    state = model.init(xs[valid[0]], ts[valid[0]], key=key)
    read = {}
    for i in valid:
        if i != valid[0]:
            state = model.step(state, xs[i], ts[i])
        read[i] = model.read(state, ts[i] if query is None else query)
    return combine([read[i] for i in chosen(valid, reads)])


def read_along(choices, w, xs, ts, reads, query=None):
    """Reads a sequence without padding after each chosen step, in NumPy."""
    queries = ts if query is None else np.full(len(xs), query)
    outputs = oracle.run(choices, w, xs, ts, queries)[1]
    return outputs[chosen(list(range(len(xs))), reads)]


@eqx.filter_jit
def told(function, model, xs, ts):
    """Returns what `function` makes of a model and a sequence, and a loss's gradients."""

    def loss(arguments):
        output = joined(function(*arguments))
        return jnp.sum((output + 1) ** 2), output

    slopes, output = eqx.filter_grad(loss, has_aux=True)((model, xs, ts))
    return output, slopes


def masked(holes, query=None):
    """Returns a call of a read-out with padding at `holes`, for `told`, and the mask."""
    mask = np.isin(np.arange(LENGTH), holes, invert=True)
    # Without padding there need not be a mask at all.
    given = {"mask": jnp.asarray(mask)} if holes else {}
    return (lambda reader, xs, ts: reader(xs, ts, query, **given)), mask


def soiled(mask):
    """Returns a sequence, and the same with NaN where the mask has padding."""
    xs, ts = make_sequence(LENGTH)
    return (xs, ts), (
        jnp.where(mask[:, None], xs, jnp.nan),
        jnp.where(mask, ts, jnp.nan),
    )


def check(reader, in_numpy, holes, query=None):
    """Compares a read-out and its gradients with those of `in_numpy`, a function of the
    weights and of a sequence that has no padding.
    """
    call, mask = masked(holes, query)
    clean, dirty = soiled(mask)
    got, (slope, *slopes) = told(call, reader, *dirty)
    sequence = dict(zip(("xs", "ts"), (np.asarray(a, np.float64) for a in clean)))
    arrays = named_arrays(reader) | sequence

    def read(w):
        return in_numpy(w, w["xs"][mask], w["ts"][mask])

    assert_close(got, read(arrays))
    want = oracle.gradient(lambda w: np.sum((read(w) + 1) ** 2), arrays)
    assert_close(
        named_arrays(slope) | dict(zip(sequence, slopes)), want, "gradient in "
    )
    assert all(np.any(array) for array in want.values())
    assert not np.any(want["xs"][~mask]) and not np.any(want["ts"][~mask])


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


SLOW = pytest.mark.slow
POOLED = (
    (Choices("low_rank", "learnt"), 1, None),
    (Choices(time_channel=True, decoder="observing"), 3, None),
    (Choices("low_rank", drive="causal", time_channel=True), 20, 0.75),
    (Choices("subspace_spectral"), 4, None),
    (Choices("diagonal", "learnt", "values", True, "gaussian"), 3, 0.4),
    pytest.param(Choices("subspace_dense", time_channel=True), 3, 0.75, marks=SLOW),
)


def check_pooled(choices, reads, query, holes):
    def in_numpy(w, xs, ts):
        own = oracle.within(w, ".model")
        return oracle.mixture(choices, read_along(choices, own, xs, ts, reads, query))

    check(wj.Pooled(make_model(choices), reads), in_numpy, holes, query)


@pytest.mark.parametrize("holes", (pytest.param((), marks=SLOW), HOLES), ids=len)
@pytest.mark.parametrize("choices, reads, query", POOLED)
def test_pooling_is_the_mean_of_what_numpy_reads(choices, reads, query, holes, double):
    check_pooled(choices, reads, query, holes)


@pytest.mark.parametrize("holes", ((), pytest.param(HOLES, marks=SLOW)), ids=len)
def test_pooling_is_that_mean_in_single_precision(holes):
    check_pooled(Choices("low_rank", drive="values"), 4, None, holes)


@pytest.mark.parametrize(
    "choices",
    (
        pytest.param(Choices(), marks=SLOW),
        Choices("low_rank", drive="causal"),
        Choices("subspace_spectral"),
        pytest.param(Choices("subspace_dense"), marks=SLOW),
    ),
)
def test_pooling_hands_on_all_that_a_state_keeps(choices, double):
    """What a step is handed has gradients too, in the weights and in the sequence."""
    model, (call, mask) = make_model(choices), masked(HOLES)
    clean, dirty = soiled(mask)
    valid = [int(i) for i in np.flatnonzero(mask)]
    got = told(lambda m, *given: call(wj.Pooled(m, 3), *given), model, *dirty)
    want = told(lambda m, xs, ts: by_hand(m, xs, ts, valid, 3), model, *clean)
    assert_close(got, want)


def test_one_time_may_be_asked_of_all_read_outs(double):
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(7)
    every = list(range(7))
    got = wj.Pooled(model, 3).last(xs, ts, 0.75)
    assert_close(got, by_hand(model, xs, ts, every, 3, query=0.75))
    even = jnp.linspace(0, 1, 7)
    assert_close(wj.Pooled(model, 3)(xs), by_hand(model, xs, even, every, 3))


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
