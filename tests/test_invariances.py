"""Laws of every transition with every roll, found wanting by hypothesis if they are not.

Hypothesis draws a batch of sequences at a time, for which each pair of a transition and a
roll compiles three programs: a plain call, one from a state, and one with resets. A law is
given the model, the batch, and what a plain call makes of it.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same
from .pairs import (
    BY_MATRIX,
    BY_POWERS,
    EVERY_ROLL,
    EVERY_TRANSITION,
    make,
    make_roll,
    refusal,
    slowed,
    swapped,
)
from .test_gaps import filled
from .test_mesh import finished, started
from .test_properties import LENGTH, OPTIONS


# Sequences of a batch; and batches, the first one of zeros alone, as hypothesis begins: so
# each law sees 500 sequences of each pair beside these.
BATCH, BATCHES = 100, 6
# Numbers, times, padding, resets, gaps, other numbers, and where to cut.
SIZES = 2 * LENGTH, LENGTH, LENGTH, LENGTH, 2 * LENGTH, 2 * LENGTH, 1
# As one draw: number by number would take longer than all else.
BYTES = st.binary(min_size=BATCH * sum(SIZES), max_size=BATCH * sum(SIZES))


class Given(NamedTuple):
    """A batch of sequences; NaN is what was not seen, of valid steps too."""

    xs: np.ndarray
    ts: np.ndarray
    queries: np.ndarray
    mask: np.ndarray
    key: jax.Array | None


class Drawn(NamedTuple):
    """What a law may go by: sequences, and what may be done to them, a row for each."""

    given: Given
    reset: np.ndarray
    junk: np.ndarray
    cut: np.ndarray


def drawn(data: bytes, key: bool) -> Drawn:
    """Returns a batch from bytes. Numbers are exact in binary and of moderate size: what
    is tested is logic, not rounding.
    """
    rows = np.frombuffer(data, np.uint8).reshape(BATCH, -1)
    parts = np.split(rows, np.cumsum(SIZES)[:-1], axis=1)
    xs, steps, mask, reset, seen, junk, cut = (part.astype(int) for part in parts)
    pairs = (BATCH, LENGTH, 2)
    xs, junk = ((part.reshape(pairs) - 128) / 32 for part in (xs, junk))
    xs = np.where(seen.reshape(pairs) % 4 > 0, xs, np.nan)
    # Some steps take no time at all.
    ts, mask = np.cumsum(steps % 9, axis=1) / 16, mask % 4 > 0
    # At least one step is valid, and the cut is after it, or after all.
    mask[:, -1] |= ~np.any(mask, axis=1)
    first = np.argmax(mask, axis=1)[:, None]
    cut = first + 1 + cut % (LENGTH - first)
    keys = jr.split(jr.key(7), BATCH) if key else None
    return Drawn(Given(xs, ts, ts, mask, keys), reset % 4 == 0, junk, cut)


@eqx.filter_jit
def run(model, given: Given, **more):
    """Returns the outputs and the last states of a batch."""

    def one(given, more):
        xs, ts, queries, mask, key = given
        return model.run(xs, ts, queries, mask, key=key, **more)

    return jax.vmap(one)(given, more)


@eqx.filter_jit
def final(model, given: Given, reset):
    """Returns the last states of a batch with resets, which every roll knows."""

    def one(given, reset):
        xs, ts, _, mask, key = given
        return model.final(xs, ts, mask=mask, reset=reset, key=key)

    return jax.vmap(one)(given, reset)


def at(steps, outputs):
    """Returns the outputs of some steps, and zeros in the place of others."""
    return np.where(steps[..., None], outputs, 0)


def padding_holds_nothing(model, drawn: Drawn, whole):
    """What stands in the padding, times included, is never looked at."""
    given, mask, junk = drawn.given, drawn.given.mask, drawn.junk
    other = np.where(junk > 2, np.inf, junk)
    dirty = given._replace(
        xs=np.where(mask[..., None], given.xs, other),
        ts=np.where(mask, given.ts, -other[..., 0]),
    )
    assert_same(run(model, dirty), whole)


def valid_steps_are_the_sequence(model, drawn: Drawn, whole):
    """The valid steps, moved to the front, give the same outputs and last state."""
    order = np.argsort(~drawn.given.mask, axis=1, kind="stable")

    def moved(array):
        places = order if array.ndim == 2 else order[..., None]
        return np.take_along_axis(np.asarray(array), places, 1)

    xs, ts, queries, mask = map(moved, drawn.given[:4])
    front = Given(xs, ts, queries, mask, drawn.given.key)
    outputs, state = run(model, front)
    assert_close((at(mask, outputs), state), (at(mask, moved(whole[0])), whole[1]))


def a_sequence_can_be_cut_anywhere(model, drawn: Drawn, whole):
    """Two calls, the second from the state of the first, are one."""
    given, early = drawn.given, np.arange(LENGTH) < drawn.cut
    _, middle = run(model, given._replace(mask=given.mask & early))
    rest = given._replace(mask=given.mask & ~early, key=None)
    outputs, state = run(model, rest, state=middle)
    assert_close((at(~early, outputs), state), (at(~early, whole[0]), whole[1]))


def packed_sequences_are_separate_runs(model, drawn: Drawn, whole):
    """Sequences one after another, each with times of its own, are the sequences alone:
    all outputs, and the last state; this alone of a roll by powers of one A.
    """
    given, mask, steps = drawn.given, drawn.given.mask, np.arange(LENGTH)
    begins = drawn.reset & mask & (np.cumsum(mask, axis=1) > 1)
    own = np.cumsum(begins, axis=1)
    starts = np.maximum.accumulate(np.where(begins, steps, 0), axis=1)
    ts = given.ts - np.take_along_axis(given.ts, starts, 1)
    packed = given._replace(ts=ts, queries=ts)
    if isinstance(model.roll, BY_POWERS):
        outputs, state = None, final(model, packed, drawn.reset)
    else:
        outputs, state = run(model, packed, reset=drawn.reset)
    for number in range(np.max(own) + 1):
        # Of a row with fewer sequences the last one again.
        number = np.minimum(number, own[:, -1:])
        alone = packed._replace(mask=mask & (own == number))
        if given.key is not None:
            start = np.max(np.where(own == number, starts, 0), axis=1)
            folded = jax.vmap(jr.fold_in)(given.key, start)
            alone = alone._replace(key=jnp.where(start > 0, folded, given.key))
        want, last = run(model, alone)
        if outputs is not None:
            assert_close(at(own == number, outputs), at(own == number, want))
        if np.all(number == own[:, -1:]):
            assert_close(state, last)


def time_has_no_unit_and_no_origin(model, drawn: Drawn, whole):
    """Times that are all longer, or later, change nothing in a model that measures them
    by as much longer a unit, read where it was.
    """
    given, (outputs, state) = drawn.given, whole
    for other, ts, t in (
        (slowed(model, 4.0), 4 * given.ts, 4 * state.t),
        (model, given.ts + 4, state.t + 4),
    ):
        want = outputs, eqx.tree_at(lambda s: s.t, state, t)
        assert_close(run(other, given._replace(ts=ts)), want)


def channels_have_no_order(model, drawn: Drawn, whole):
    """With its channels swapped, a model does the same to swapped channels."""
    (outputs, state), swap = whole, lambda array: array[..., ::-1]
    places = lambda s: [s.x] + ([] if s.memory is None else [s.memory])  # noqa: E731
    want = eqx.tree_at(places, state, replace_fn=swap)
    got = run(swapped(model), drawn.given._replace(xs=swap(drawn.given.xs)))
    assert_close(got, (outputs, want))


def a_gap_is_the_value_last_seen(model, drawn: Drawn, whole):
    """With gaps filled by hand, each from what was seen before it, nothing changes."""
    given = drawn.given
    xs = np.stack([filled(*row) for row in zip(given.xs, given.mask)])
    assert_close(run(model, given._replace(xs=xs)), whole)


def nothing_later_is_looked_at(model, drawn: Drawn, whole):
    """Neither values, nor gaps, nor times, nor padding that comes later."""
    given, early = drawn.given, np.arange(LENGTH) < drawn.cut
    later = np.where(np.isnan(given.xs), drawn.junk, np.nan)
    other = given._replace(
        xs=np.where(early[..., None], given.xs, later),
        ts=given.ts + ~early,
        mask=np.where(early, given.mask, ~given.mask),
    )
    got, want = (at(early, told[0]) for told in (run(model, other), whole))
    assert_close(got, want)
    if not isinstance(model.roll, wj.ConvolutionRoll):
        # To the last bit, where no Fourier transform rounds all steps together.
        np.testing.assert_array_equal(got, want)


LAWS = (
    padding_holds_nothing,
    valid_steps_are_the_sequence,
    a_sequence_can_be_cut_anywhere,
    packed_sequences_are_separate_runs,
    time_has_no_unit_and_no_origin,
    channels_have_no_order,
    a_gap_is_the_value_last_seen,
    nothing_later_is_looked_at,
)


def check(transition: str, roll: str, batches: int):
    """Checks every law of a pair in batches of sequences, or that the pair is refused."""
    model, refused = make(transition, make_roll(roll)), refusal(transition, roll)
    first = drawn(bytes(BATCH * sum(SIZES)), transition.endswith("key"))
    raises = functools.partial(pytest.raises, ValueError)
    if refused is not None:
        with raises(match=refused):
            run(model, first.given)
        return
    if isinstance(model.roll, BY_POWERS):
        with raises(match="cannot begin anew at a `reset`"):
            run(model, first.given, reset=first.reset)

    # A batch is large on purpose, many sequences for one call: so to make one that fails
    # smaller takes minutes, and its bytes tell nothing.
    large = {
        "suppress_health_check": [hypothesis.HealthCheck.large_base_example],
        "phases": [hypothesis.Phase.generate],
        "verbosity": hypothesis.Verbosity.quiet,
    }

    @hypothesis.settings(max_examples=batches, **large, **OPTIONS)
    @hypothesis.given(BYTES)
    def hold(data):
        sequences = drawn(data, transition.endswith("key"))
        whole = run(model, sequences.given)
        for law in LAWS:
            law(model, sequences, whole)

    hold()


SOME = (
    ("low_rank", "auto"),
    ("block", "chunks_of_4"),
    ("subspace_dense", "convolution"),
    ("sum", "limited"),
    ("dropout_with_a_key", "split"),
    ("timed_spectral", "associative"),
    ("timed_diagonal", "chunks_of_4"),
)


@pytest.mark.parametrize("transition, roll", SOME)
def test_a_law_holds(transition, roll, double):
    check(transition, roll, 2)


@pytest.mark.slow
@pytest.mark.parametrize("roll", EVERY_ROLL)
@pytest.mark.parametrize(
    "transition", [name for name in EVERY_TRANSITION if name not in BY_MATRIX]
)
def test_every_law_holds_for_every_pair(transition, roll, double):
    if roll == EVERY_ROLL[0]:
        # What was compiled for another transition is of no more use.
        jax.clear_caches()
    check(transition, roll, BATCHES)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keeps this thread to one core, and so all of a process that it starts meanwhile."""
    cores = os.sched_getaffinity(0)
    # Of each process of pytest-xdist another core.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(cores)[worker % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"),
    reason="cannot keep a process to one core here",
)
@pytest.mark.parametrize("transition", BY_MATRIX)
def test_every_law_holds_on_one_core(transition):
    with one_core():
        options = "-vx", "--tb=short", "-pno:cacheprovider", "-k", transition
        process = started(None, "pytest", *options, "tests/one_core.py")
    (told,) = finished(process, seconds=600)
    assert f"{len(EVERY_ROLL)} passed" in told
