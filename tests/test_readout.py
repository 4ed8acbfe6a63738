"""Weighed read-outs, and read-outs from both ends."""

# Wrong types are among what is tested here.
# pyright: reportArgumentType=false

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import assert_close, assert_refused, make_model, make_sequence
from .oracle import Choices
from .test_pooled import (
    by_hand as pooled_by_hand,
    check,
    chosen,
    HOLES,
    Leaky,
    LENGTH,
    masked,
    read_along,
    soiled,
    told,
)


SLOW = pytest.mark.slow


def softmax_mean(outputs):
    """Weighs rows by the exponential of their last entry, in NumPy."""
    weights = np.exp(outputs[:, -1] - np.max(outputs[:, -1].real))
    return (weights / np.sum(weights)) @ outputs[:, :-1]


def attended(choices, w, xs, ts, reads, query=None):
    return softmax_mean(read_along(choices, w, xs, ts, reads, query))


def check_weighed(choices, reads, query, holes):
    def in_numpy(w, xs, ts):
        return attended(choices, oracle.within(w, ".model"), xs, ts, reads, query)

    check(wj.AttentionPooled(make_model(choices), reads), in_numpy, holes, query)


@pytest.mark.parametrize("holes", (pytest.param((), marks=SLOW), HOLES), ids=len)
@pytest.mark.parametrize(
    "choices, reads, query",
    (
        (Choices(time_channel=True, decoder="observing"), 3, None),
        (Choices("subspace_spectral", "learnt", "values", True), 20, 0.75),
        pytest.param(Choices("low_rank", drive="causal"), 4, None, marks=SLOW),
    ),
)
def test_read_outs_are_weighed_by_their_own_scores(
    choices, reads, query, holes, double
):
    check_weighed(choices, reads, query, holes)


@pytest.mark.parametrize("holes", ((), pytest.param(HOLES, marks=SLOW)), ids=len)
def test_read_outs_are_weighed_in_single_precision(holes):
    check_weighed(Choices("low_rank", drive="values"), 3, None, holes)


def test_weighed_read_outs_are_those_of_a_stream(double):
    def weighed(outputs):
        outputs = jnp.stack(outputs)
        weights = jnp.exp(outputs[:, -1])
        return weights @ outputs[:, :-1] / jnp.sum(weights)

    def by_steps(model, xs, ts):
        return pooled_by_hand(model, xs, ts, valid, 3, combine=weighed)

    model, (call, mask) = make_model(Choices("subspace_spectral")), masked(HOLES)
    valid = [int(i) for i in np.flatnonzero(mask)]
    clean, dirty = soiled(mask)
    got = told(lambda m, *given: call(wj.AttentionPooled(m, 3), *given), model, *dirty)
    assert_close(got, told(by_steps, model, *clean))


def test_weighing_has_the_gradient_of_its_formula(double):
    xs, ts = make_sequence(7)

    def weighed(keep):
        return jnp.sum(wj.AttentionPooled(Leaky(keep), 3)(xs, ts) ** 2)

    def formula(keep):
        state, outputs = np.asarray(xs[0]).astype(complex), []
        for i in range(7):
            state = np.asarray(xs[0], complex) if i == 0 else keep * state + xs[i]
            outputs.append(np.tanh(state) * (1 + np.asarray(ts[i])))
        read = np.stack([outputs[i] for i in chosen(list(range(7)), 3)])
        weights = np.exp(read[:, -1])
        return np.sum(((weights / np.sum(weights)) @ read[:, :-1]) ** 2)

    value, slope = jax.value_and_grad(weighed)(jnp.array(0.7))
    assert_close(value, formula(0.7 + 0j).real)
    assert_close(slope, formula(0.7 + 1e-100j).imag / 1e-100)


def test_equal_scores_give_the_mean(double):
    class Even(Leaky):
        def read(self, state, time):
            return jnp.append(super().read(state, time), 2.0)

    xs, ts = make_sequence(7)
    got = wj.AttentionPooled(Even(jnp.array(0.7)), 3)(xs, ts)
    assert_close(got, pooled_by_hand(Leaky(jnp.array(0.7)), xs, ts, list(range(7)), 3))


def test_weighing_needs_a_score_and_arrays():
    call, xs = "AttentionPooled(model, reads)", make_sequence(4)[0]

    class Single(Leaky):
        def read(self, state, time):
            return super().read(state, time)[:1]

    gaussian, single = make_model(Choices(decoder="gaussian")), Single(jnp.array(0.7))
    refused = (
        (
            ValueError,
            "got 1 in all",
            lambda m: wj.AttentionPooled(single, 2)(xs),
        ),
        (TypeError, "got a Gaussian", lambda m: wj.AttentionPooled(gaussian, 2)(xs)),
        (TypeError, "needs a model", lambda m: wj.AttentionPooled(jnp.tanh, 2)),
        (ValueError, "reads=0", lambda m: wj.AttentionPooled(m, 0)),
    )
    for kind, fragment, act in refused:
        assert_refused(act, kind, call, fragment)


def both_ways(
    forward: Any, backward: Any, xs, ts, query=None, keys: Any = (None, None)
):
    """Streams a sequence without padding forwards and backwards, and averages."""
    outputs = []
    back = ts[0] + ts[-1] - ts[::-1]
    for model, x, t, key in (
        (forward, xs, ts, keys[0]),
        (backward, xs[::-1], back, keys[1]),
    ):
        state = model.init(x[0], t[0], key=key)
        for i in range(1, len(x)):
            state = model.step(state, x[i], t[i])
        outputs.append(model.read(state, state.t if query is None else query))
    return (outputs[0] + outputs[1]) / 2


def one_way(choices, reads):
    """Returns a model, or a mean of its read-outs, and the same in NumPy."""
    model = make_model(choices)

    def in_numpy(w, xs, ts, query):
        if reads is None:
            return read_along(choices, w, xs, ts, 1, query)[0]
        own = oracle.within(w, ".model")
        return oracle.mixture(choices, read_along(choices, own, xs, ts, reads, query))

    return model if reads is None else wj.Pooled(model, reads), in_numpy


def check_both(forward, backward, query, holes):
    """Compares both directions with NumPy; of each what it is made of, and its reads."""
    there, there_in_numpy = one_way(*forward)
    back, back_in_numpy = one_way(*backward)

    def in_numpy(w, xs, ts):
        turned = xs[::-1], ts[0] + ts[-1] - ts[::-1]
        first = there_in_numpy(oracle.within(w, ".forward"), xs, ts, query)
        second = back_in_numpy(oracle.within(w, ".backward"), *turned, query)
        return oracle.mixture(forward[0], np.stack([first, second]))

    check(wj.Bidirectional(there, back), in_numpy, holes, query)


MODELS = Choices(time_channel=True), Choices("subspace_spectral", drive="causal")
GAUSSIAN = Choices("low_rank", "learnt", "values", decoder="gaussian")
WHOLE = Choices("diagonal", "learnt", "noncausal", True)
BOTH = {
    "two_models": ((MODELS[0], None), (MODELS[1], None), None),
    "asked_at_a_time": ((MODELS[0], None), (MODELS[1], None), 0.75),
    "gaussians": ((GAUSSIAN, None), (GAUSSIAN._replace(transition="dense"), 3), None),
    "sees_all": ((WHOLE, None), (Choices("low_rank"), 3), None),
}


@pytest.mark.parametrize("holes", (pytest.param((), marks=SLOW), HOLES), ids=len)
@pytest.mark.parametrize("case", BOTH)
def test_both_directions_are_what_numpy_reads(case, holes, double):
    forward, backward, query = BOTH[case]
    check_both(forward, backward, query, holes)


@pytest.mark.parametrize("holes", ((), pytest.param(HOLES, marks=SLOW)), ids=len)
def test_both_directions_are_that_in_single_precision(holes):
    first, second = Choices("low_rank", "learnt"), Choices("diagonal", "learnt")
    check_both((first, None), (second, None), None, holes)


@pytest.mark.parametrize("holes", (pytest.param((), marks=SLOW), HOLES), ids=len)
@pytest.mark.parametrize("query", (None, pytest.param(0.75, marks=SLOW)))
def test_both_directions_are_streams_of_the_valid_steps(query, holes, double):
    models = [make_model(choices) for choices in MODELS]
    call, mask = masked(holes, query)
    clean, dirty = soiled(mask)

    def by_steps(models, xs, ts):
        forward, backward = models
        return both_ways(forward, backward, xs[mask], ts[mask], query)

    got = told(lambda m, *given: call(wj.Bidirectional(*m), *given), models, *dirty)
    assert_close(got, told(by_steps, models, *clean))


@pytest.mark.parametrize(
    "valid", ((1, 2), pytest.param((1, 2, 4, 5, 6, 7), marks=SLOW)), ids=len
)
@pytest.mark.parametrize("kind", ("weighed", "both_ways"))
def test_padding_changes_no_read_out(kind, valid, double):
    """With more read-outs than valid steps too, so that some are of padding alone."""
    model = make_model(Choices("low_rank", "learnt", "causal", True))
    weighed = wj.AttentionPooled(model, 4)
    both = wj.Bidirectional(model, wj.Pooled(model, 4))
    reader = {"weighed": weighed, "both_ways": both}[kind]
    call, mask = masked([i for i in range(LENGTH) if i not in valid])
    (xs, ts), dirty = soiled(mask)
    got, (slope, *slopes) = told(call, reader, *dirty)
    bare, _ = masked(())
    assert_close(
        (got, (slope, *(array[mask] for array in slopes))),
        told(bare, reader, xs[mask], ts[mask]),
    )
    assert not any(np.any(array[~mask]) for array in slopes)


def test_directions_may_be_pooled_and_have_keys_of_their_own(double):
    model, (xs, ts) = Leaky(jnp.array(0.7)), make_sequence(7)
    key = jr.key(3)
    got = wj.Bidirectional(model, model)(xs, ts, key=key)
    assert_close(got, both_ways(model, model, xs, ts, keys=jr.split(key)))
    pooled = wj.Pooled(model, 3)
    back = ts[0] + ts[-1] - ts[::-1]
    want = (pooled(xs, ts) + pooled(xs[::-1], back)) / 2
    assert_close(wj.Bidirectional(pooled, pooled)(xs, ts), want)


def test_what_sees_the_future_is_not_stepped():
    model, (xs, ts) = make_model(), make_sequence(4)
    both = wj.Bidirectional(model, model)
    for reader in (both, wj.Pooled(model, 2)):
        with pytest.raises(TypeError, match=r"`forecast.*reads a sequence whole"):
            wj.forecast(reader, xs, 2)
        with pytest.raises(TypeError, match=r"`unroll.*reads a sequence whole"):
            wj.unroll(reader, xs, ts, 1)
    with pytest.raises(TypeError, match="got Bidirectional"):
        wj.Pooled(both, 2)
    with pytest.raises(TypeError, match=r"`Bidirectional.*got str"):
        wj.Bidirectional(model, "backward")
    with pytest.raises(ValueError, match="at least one step"):
        both(xs[:0])
