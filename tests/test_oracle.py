"""Every number and every gradient, against the recurrence as a loop in NumPy."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj
import warp_jax._roll.auto as auto
import warp_jax._roll.segments as segments

from . import oracle
from .helpers import (
    assert_close,
    joined,
    make_model,
    make_sequence,
    named_arrays,
    SINGLE_IS_SLOW,
    TRANSITIONS,
)
from .oracle import Choices


class Case(NamedTuple):
    """A model and a sequence, by what they are made from."""

    choices: Choices
    length: int
    limit: float | None = None
    holes: tuple[int, ...] = ()

    def mask(self) -> np.ndarray:
        return np.isin(np.arange(self.length), self.holes, invert=True)

    def queries(self, ts):
        return ts + 0.125


@eqx.filter_jit
def everything(model, xs, ts, queries, mask):
    """Returns all that a model tells of a sequence, and the gradients of a loss."""

    def loss(arguments):
        model, xs, ts = arguments
        outputs = joined(model(xs, ts, queries, mask))
        return jnp.mean((outputs + 1) ** 2), outputs

    slopes, outputs = eqx.filter_grad(loss, has_aux=True)((model, xs, ts))
    told = {
        "weights": model.weights(xs, ts, mask),
        "outputs": outputs,
        "last": joined(model.last(xs, ts, mask=mask)),
        "final": model.final(xs, ts, mask=mask).theta,
    }
    return told, slopes


@functools.cache
def expected(case: Case):
    """Returns what `everything` should, from the oracle."""
    choices, mask = case.choices, case.mask()
    w = named_arrays(make_model(choices))
    xs, ts = (np.asarray(array, np.float64) for array in make_sequence(case.length))
    queries = case.queries(ts)
    thetas, outputs = oracle.run(choices, w, xs, ts, queries, mask, case.limit)
    end = np.flatnonzero(mask)[-1]

    def loss(arrays):
        sequence = arrays["xs"], arrays["ts"]
        _, ys = oracle.run(choices, arrays, *sequence, queries, mask, case.limit)
        return np.mean((ys + 1) ** 2)

    told = {
        "weights": thetas,
        "outputs": outputs,
        "last": oracle.decode(choices, w, thetas[-1], xs[end], ts[end]),
        "final": thetas[-1],
    }
    return told, oracle.gradient(loss, w | {"xs": xs, "ts": ts})


def check(case: Case, roll: wj.AbstractRoll = wj.AutoRoll()):
    model = make_model(case.choices, roll=roll)
    xs, ts = make_sequence(case.length)
    mask = jnp.asarray(case.mask())
    told, (model_slopes, *slopes) = everything(model, xs, ts, case.queries(ts), mask)
    want, want_slopes = expected(case)
    assert_close(told, want)
    got_slopes = named_arrays(model_slopes) | dict(zip(("xs", "ts"), slopes))
    assert_close(got_slopes, want_slopes, "gradient in ")
    # A subspace begins in its origin, which its dynamics leave alone.
    if case.length > (2 if case.choices.transition.startswith("subspace") else 1):
        # Zero gradients in A and B would make the comparison empty.
        names = [name for name in want_slopes if name.startswith(".transition")]
        assert names and all(np.any(want_slopes[name]) for name in names)


# The other lengths are met by the default tests of the rolls.
SLOW = [pytest.param(length, marks=pytest.mark.slow) for length in (1, 2, 64)]


@pytest.mark.parametrize("length", (7, *SLOW))
@SINGLE_IS_SLOW
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_every_transition_is_the_recurrence(transition, length, precision):
    check(Case(Choices(transition, "learnt"), length))


@SINGLE_IS_SLOW
@pytest.mark.parametrize(
    "choices",
    (
        Choices("low_rank", "learnt", "values", True, "tanh", "sinusoidal"),
        Choices("dense", "learnt", "causal", False, "observing"),
        Choices("diagonal", drive="noncausal", time_channel=True, decoder="gaussian"),
        Choices(
            "cut_block", drive="causal", time_channel=True, coordinates="sinusoidal"
        ),
        Choices("low_rank", time_channel=True, decoder="observing"),
        Choices("low_rank", "learnt", "signature", time_channel=True),
        Choices("dense", drive="joined", time_channel=True),
        Choices("low_rank", "learnt", "products"),
        Choices("diagonal", drive="products", time_channel=True, decoder="observing"),
        Choices("diagonal", "learnt", "embedded", True, "observing"),
        Choices("diagonal", "thin", "embedded_joined", True),
        pytest.param(
            Choices("low_rank", "learnt", "embedded_signature"), marks=pytest.mark.slow
        ),
        Choices("subspace_spectral", "thin", decoder="tanh"),
        Choices("oscillatory", "thin", "causal", decoder="gaussian"),
    ),
    ids=lambda choices: f"{choices.drive}-{choices.decoder}",
)
@pytest.mark.parametrize(
    "holes",
    (
        pytest.param((), marks=pytest.mark.slow, id="whole"),
        pytest.param((0, 1, 4, 6, 7, 11), id="holes"),
    ),
)
def test_every_part_is_as_written_by_hand(choices, holes, precision):
    check(Case(choices, 12, holes=holes))


@pytest.mark.parametrize("segment", (1, 3, 64, 100))
def test_checkpointed_segments_change_nothing(segment, precision):
    check(Case(Choices("low_rank", "learnt"), 64), wj.SequentialRoll(segment=segment))


def test_segments_leave_padding_alone(precision):
    case = Case(Choices("low_rank", "learnt"), 7, holes=(0, 4, 6))
    check(case, wj.SequentialRoll(segment=3))


@pytest.mark.parametrize("length", (7, 64))
def test_the_limit_clips_every_weight_after_each_step(length, precision):
    case = Case(Choices("diagonal", "learnt"), length, limit=0.375)
    assert np.any(np.abs(expected(case._replace(limit=None))[0]["weights"]) > 0.375)
    check(case, wj.SequentialRoll(limit=0.375))


@pytest.mark.parametrize("transition", ("dense", "low_rank", "subspace_spectral"))
def test_long_sequences_are_rolled_and_read_in_parts(
    transition, monkeypatch, precision
):
    monkeypatch.setattr(segments, "KEPT", 100)
    monkeypatch.setattr(auto, "KEPT", 100)
    monkeypatch.setattr(segments, "AT_ONCE", 50)
    monkeypatch.setattr(segments, "ENOUGH", 1)
    wide = eqx.filter_eval_shape(lambda: wj.DenseTransition(2000, 6))
    assert wj.AutoRoll().resolve(wide, 64) == wj.SequentialRoll(segment=8)
    check(Case(Choices(transition, "learnt"), 17))


def test_last_reads_at_the_time_asked_for(precision):
    choices = Choices("dense", "learnt")
    model, (xs, ts) = make_model(choices), make_sequence(7)
    theta = expected(Case(choices, 7))[0]["final"]
    want = oracle.decode(choices, {}, theta, None, 0.75)
    assert_close(model.last(xs, ts, 0.75), want)
