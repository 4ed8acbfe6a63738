"""Sequences packed one after another are the sequences by themselves."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

from typing import Any

import equinox as eqx
import hypothesis
import hypothesis.extra.numpy as hnp
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import (
    assert_close,
    assert_refused,
    make_model,
    make_sequence,
    named_arrays,
)
from .oracle import Choices
from .test_gaps import filled, make_gappy, plain
from .test_properties import LENGTH, MASKS, OPTIONS, SEQUENCES, STEPS
from .test_rolls import mean_square, ROLLS
from .test_stacked import make_stack


jit = eqx.filter_jit
# Sequences of three, one and four steps; the second is begun before any padding.
BEGINS = np.array([0, 0, 0, 1, 1, 0, 0, 0], bool)
PADDED = np.array([0, 1, 1, 1, 1, 0, 1, 1], bool)
VARYING = "sequential", "segments", "associative", "auto"
ROLLED = "diagonal", "low_rank", "subspace_spectral", "high_rank"


def make_packed(seed=0):
    """Returns sequences one after another, each one's times from its own beginning."""
    xs, ts = make_sequence(LENGTH, seed)
    starts = np.maximum.accumulate(np.where(BEGINS, np.arange(LENGTH), 0))
    return xs, ts - ts[starts] + ts[0]


def separate(choices, w, xs, ts, queries, reset, mask):
    """Returns states and outputs by the oracle, which runs each sequence by itself."""
    cuts = np.flatnonzero(reset & mask & (np.cumsum(mask) > 1))
    parts = [np.split(array, cuts) for array in (xs, ts, queries, mask)]
    runs = [oracle.run(choices, w, *part) for part in zip(*parts)]
    thetas, ys = (np.concatenate(arrays) for arrays in zip(*runs))
    return {"outputs": ys, "weights": thetas, "final": thetas[-1]}


def check_packed(choices, roll, mask, gaps=None):
    """Compares values and gradients with those of the oracle."""
    make = make_model if gaps is None else make_gappy
    model, (xs, ts) = make(choices, roll=ROLLS[roll]), make_packed()
    if gaps is not None:
        xs = jnp.where(gaps, xs, jnp.nan)
    valid = np.ones(LENGTH, bool) if mask is None else mask
    mask = None if mask is None else jnp.asarray(mask)

    @jit
    def told(model, xs, ts):
        def loss(arguments):
            model, xs, ts = arguments
            given = {"mask": mask, "reset": jnp.asarray(BEGINS)}
            values = {
                "outputs": model(xs, ts, ts + 0.125, **given),
                "weights": model.weights(xs, ts, **given),
                "final": model.final(xs, ts, **given).theta,
            }
            return mean_square(values), values

        return eqx.filter_grad(loss, has_aux=True)((model, xs, ts))

    def values(w):
        xs = w["xs"]
        if gaps is not None:
            cuts = np.flatnonzero(BEGINS)
            parts = zip(np.split(xs, cuts), np.split(valid, cuts))
            xs = np.concatenate([filled(*part) for part in parts])
        return separate(choices, w, xs, w["ts"], w["ts"] + 0.125, BEGINS, valid)

    (slopes, of_xs, of_ts), got = told(model, xs, ts)
    w = plain(named_arrays(model)) | {"xs": np.asarray(xs), "ts": np.asarray(ts)}
    assert_close(got, values(w))
    want = oracle.gradient(lambda w: mean_square(values(w)), w)
    got_slopes = plain(named_arrays(slopes)) | {"xs": of_xs, "ts": of_ts}
    assert_close(got_slopes, want, "gradient in ")


@pytest.mark.parametrize(
    "transition, roll", (("low_rank", "auto"), ("dense", "associative"))
)
def test_packed_sequences_are_separate_runs(transition, roll, double):
    check_packed(Choices(transition), roll, PADDED)


@pytest.mark.slow
@pytest.mark.parametrize("transition, roll", list(zip(ROLLED, VARYING)))
def test_every_varying_roll_packs(transition, roll, double):
    check_packed(Choices(transition, "learnt"), roll, None)


@pytest.mark.slow
def test_packed_sequences_are_separate_runs_in_single_precision():
    check_packed(Choices("low_rank"), "associative", None)


@pytest.mark.slow
def test_no_convolution_reaches_over_a_reset(double):
    choices = Choices("low_rank", "learnt", "causal", True, "observing")
    check_packed(choices, "auto", PADDED)


@pytest.mark.slow
@pytest.mark.parametrize("drive", ("joined", "embedded"))
def test_no_window_reaches_over_a_reset(drive, double):
    choices = Choices("subspace_spectral", "learnt", drive, True, "observing")
    check_packed(choices, "segments", PADDED)


@pytest.mark.slow
def test_no_gap_is_filled_from_another_sequence(double):
    seen = np.ones((LENGTH, 2), bool)
    # The second sequence has one step, and one channel of it alone.
    seen[[1, 2, 3, 4], [0, 1, 1, 0]] = False
    choices = Choices("low_rank", "hypernetwork", "increments", True, "observing")
    check_packed(choices, "auto", PADDED, seen)


@eqx.filter_jit
def told(model, xs, ts, reset, mask=None, state=None, key=None):
    """Returns outputs and last state; times are those of the steps."""
    given = {"mask": mask, "state": state, "key": key}
    if reset is not None:
        given["reset"] = reset
    outputs: Any = None
    roll = getattr(model, "roll", None)
    if not isinstance(roll, (wj.ChunkedRoll, wj.ConvolutionRoll)):
        outputs = model(xs, ts, ts, **given)
    return outputs, model.final(xs, ts, **given), model.last(xs, ts, **given)


@pytest.mark.parametrize(
    "roll", ("chunks_of_4", pytest.param("convolution", marks=pytest.mark.slow))
)
def test_every_roll_comes_to_the_last_state(roll, double):
    choices = Choices("low_rank", drive="causal", decoder="observing")
    model, (xs, ts) = make_model(choices, roll=ROLLS[roll]), make_packed()
    last = slice(4, None)
    for state in (None, model.init(xs[5])):
        _, final, output = told(model, xs, ts, BEGINS, PADDED, state)
        want = jit(model.final)(xs[last], ts[last], mask=PADDED[last])
        assert_close(final, want)
        assert_close(output, model.read(want, want.t))


@eqx.filter_jit
def streamed(model, state, xs, ts, reset):
    """Takes steps one by one, and reads after each."""

    def step(state, inputs):
        x, t, begins = inputs
        state = model.step(state, x, t, reset=begins)
        return state, model.read(state, t)

    return lax.scan(step, state, (xs, ts, reset))


@pytest.mark.slow
def test_streams_and_parts_reset_too(double):
    choices = Choices("subspace_spectral", "learnt", "signature", True, "observing")
    model, (xs, ts) = make_gappy(choices), make_packed()
    xs = xs.at[4, 1].set(jnp.nan).at[6, 0].set(jnp.nan)
    ys, final, output = told(model, xs, ts, BEGINS)
    state, outputs = streamed(
        model, model.init(xs[0], ts[0]), xs[1:], ts[1:], BEGINS[1:]
    )
    assert_close((outputs, state), (ys[1:], final))
    assert_close(output, ys[-1])
    # Cut where a sequence begins, and where one goes on.
    for cut in (3, 5):
        first, rest = slice(None, cut), slice(cut, None)
        _, middle, _ = told(model, xs[first], ts[first], BEGINS[first])
        outputs, end, _ = told(model, xs[rest], ts[rest], BEGINS[rest], None, middle)
        assert_close((outputs, end), (ys[rest], final))


def test_nothing_passes_a_reset(double):
    choices = Choices("dense", drive="causal", time_channel=True, decoder="observing")
    model, (xs, ts) = make_model(choices), make_packed()
    slopes = jax.jacrev(lambda xs: model(xs, ts, reset=jnp.asarray(BEGINS)))
    slopes = np.sum(np.abs(jit(slopes)(xs)), axis=(1, 3))
    own = np.cumsum(BEGINS)
    earlier = np.arange(LENGTH)[:, None] >= np.arange(LENGTH)
    np.testing.assert_array_equal(slopes > 0, earlier & (own[:, None] == own))


@pytest.mark.slow
def test_a_first_step_begins_in_any_case(double):
    model, (xs, ts) = make_model(Choices("low_rank")), make_packed()
    reset = jnp.zeros(LENGTH, bool)
    ts = make_sequence(LENGTH)[1]
    want = told(model, xs, ts, None)
    assert_close(told(model, xs, ts, reset), want)
    assert_close(told(model, xs, ts, reset.at[0].set(True)), want)
    # Continued from a state, the same flag throws the state away.
    state = model.init(xs[3], ts[0])
    assert_close(told(model, xs, ts, reset.at[0].set(True), None, state), want)
    assert_close(
        told(model, xs, ts, reset, None, state), told(model, xs, ts, None, None, state)
    )


@pytest.mark.slow
def test_each_sequence_makes_random_choices_of_its_own(double):
    choices = Choices("subspace_spectral")
    model, (xs, ts) = make_model(choices), make_packed()
    model = eqx.tree_at(
        lambda m: (m.initial, m.transition),
        model,
        (wj.NoisyInitial(model.initial, 0.1), wj.ModeDropout(model.transition, 0.5)),
    )
    ys, final, _ = told(model, xs, ts, BEGINS, None, None, jr.key(7))
    for first, last in ((0, 3), (3, 4), (4, 8)):
        key = jr.fold_in(jr.key(7), first) if first else jr.key(7)
        part = slice(first, last)
        outputs, end, _ = told(model, xs[part], ts[part], None, None, None, key)
        assert_close(outputs, ys[part])
    assert_close(final, end)


def test_a_scan_may_reset_where_it_likes(double):
    """An environment's loop: the flag is known only inside."""
    model, (xs, ts) = make_model(Choices("low_rank")), make_packed()
    state, _ = streamed(model, model.init(xs[0], ts[0]), xs[1:], ts[1:], BEGINS[1:])
    assert_close(state, jit(model.final)(xs[4:], ts[4:]))
    again = model.step(state, xs[0], 0.0, reset=True)
    assert_close(again, model.init(xs[0], 0.0))


@pytest.mark.slow
def test_stepping_a_compacted_model_anew_is_refused(double):
    model, (xs, ts) = make_model(Choices("low_rank")), make_packed()
    small: Any
    small, state = model.compact(xs, ts, reset=BEGINS)
    assert_close(small.read(state, ts[-1]), model.last(xs, ts, ts[-1], reset=BEGINS))
    with pytest.raises(ValueError, match="cannot reset a state of `compact`"):
        small.step(state, xs[0], 0.0, reset=True)


@pytest.mark.slow
def test_a_stack_packs_too(double):
    model = make_stack((Choices("low_rank"), Choices("dense")))
    xs, ts = make_packed()
    ys, final, output = told(model, xs, ts, BEGINS, PADDED)
    for first, last in ((0, 3), (3, 4), (4, 8)):
        part = slice(first, last)
        outputs, end, _ = told(model, xs[part], ts[part], None, PADDED[part])
        assert_close(outputs, ys[part])
    assert_close((final, output), (end, ys[-1]))
    state, outputs = streamed(
        model, model.init(xs[0], ts[0]), xs[1:], ts[1:], BEGINS[1:]
    )
    assert_close((outputs[0], state.x), (told(model, xs, ts, BEGINS)[0][1], xs[-1]))


XS, TS = jnp.ones((6, 2)), jnp.linspace(0, 1, 6)
BACK = jnp.array([2.0, 3.0, 4.0, 5.0, 0.0, 1.0])
FLAGS = jnp.zeros(6, bool)
CALL = "model(xs, ts, queries, mask)"


def powers(m, roll):
    """Calls a model whose roll goes by powers of A."""
    return eqx.tree_at(lambda m: m.roll, m, roll)(XS, TS, reset=FLAGS)


REFUSED = [
    (CALL, "needs `ts` where it resets", lambda m: m(XS, reset=FLAGS)),
    (CALL, "`reset` with 6 steps", lambda m: m(XS, TS, reset=FLAGS[:5])),
    (
        CALL,
        "`reset` with 1 axis; got shape (6, 1)",
        lambda m: m(XS, TS, reset=FLAGS[:, None]),
    ),
    (
        CALL,
        "5.0 before 0.0",
        lambda m: m(XS, BACK, reset=FLAGS.at[3].set(True)),
    ),
    (
        "ChunkedRoll",
        "cannot begin anew at a `reset`",
        lambda m: powers(m, wj.ChunkedRoll(4)),
    ),
    ("ConvolutionRoll", "`AssociativeRoll`", lambda m: powers(m, wj.ConvolutionRoll())),
    (
        "model.step(state, x, t)",
        "1.0 before 0.5",
        lambda m: m.step(m.init(XS[0], 1.0), XS[1], 0.5, reset=False),
    ),
    (
        "model.step(state, x, t)",
        "begun with a `key`",
        lambda m: dropping(m).step(
            dropping(m).init(XS[0], key=jr.key(0)), XS[1], 0.5, reset=True
        ),
    ),
]


def dropping(m):
    """Returns a model that drops modes where it has a key."""
    model = make_model(Choices("subspace_spectral"))
    return eqx.tree_at(
        lambda m: m.transition, model, wj.ModeDropout(model.transition, 0.5)
    )


@pytest.mark.parametrize("call, fragment, act", REFUSED)
def test_other_resets_are_refused(call, fragment, act, unchecked):
    assert_refused(act, ValueError, call, fragment)


def test_flags_are_booleans(unchecked):
    with pytest.raises(TypeError, match="True = a sequence begins; got dtype float32"):
        make_model()(XS, TS, reset=TS)
    with pytest.raises(
        TypeError, match=r"boolean scalar for `reset`; got bool of shape"
    ):
        make_model().step(make_model().init(XS[0]), XS[1], 1.0, reset=FLAGS)
    causal = make_model(Choices(drive="noncausal"))
    with pytest.raises(ValueError, match="nor reset"):
        causal(XS, TS, reset=FLAGS)


FLAGGED = hnp.arrays(bool, LENGTH)
WHERE = hnp.arrays(bool, (LENGTH, oracle.INPUT))
CHOICES = Choices("low_rank", "hypernetwork", "causal", True, "observing")


def check(examples):
    model = make_gappy(CHOICES)
    w = plain(named_arrays(model))

    @hypothesis.settings(max_examples=examples, **OPTIONS)
    @hypothesis.given(
        xs=SEQUENCES, steps=STEPS, mask=MASKS, reset=FLAGGED, seen=WHERE, cut=FLAGGED
    )
    def run(xs, steps, mask, reset, seen, cut):
        gappy, ts = np.where(seen, xs, np.nan), np.cumsum(steps)
        cuts = np.flatnonzero(reset & mask & (np.cumsum(mask) > 1))
        parts = zip(np.split(gappy, cuts), np.split(mask, cuts))
        dense = np.concatenate([filled(*part) for part in parts])
        want = separate(CHOICES, w, dense, ts, ts, reset, mask)
        outputs, final, _ = told(model, gappy, ts, reset, mask)
        assert_close((outputs, final.theta), (want["outputs"], want["final"]))
        # Cut at any step after the first valid one, and continued.
        at = int(cut.argmax()) or 1
        early = np.arange(LENGTH) < at
        if np.any(mask & early):
            _, middle, _ = told(model, gappy, ts, reset, mask & early)
            given = gappy, ts, reset, mask & ~early, middle
            rest, end, _ = told(model, *given)
            assert_close((rest[at:], end), (outputs[at:], final))

    run()


def test_packing_is_separate_runs(double):
    check(10)


@pytest.mark.slow
def test_packing_is_separate_runs_of_many_more(double):
    check(500)
