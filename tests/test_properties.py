"""Laws that hold for any numbers, found wanting by hypothesis if they do not."""

import equinox as eqx
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, make_model, x64
from .oracle import Choices


LENGTH, INPUT = 8, 2
CHOICES = Choices("low_rank", drive="causal", time_channel=True, decoder="observing")
# Exact in binary and of moderate size: what is tested is logic, not rounding.
NUMBERS = st.integers(-64, 64).map(lambda n: n / 16)
SEQUENCES = hnp.arrays(np.float64, (LENGTH, INPUT), elements=NUMBERS)
MASKS = hnp.arrays(bool, LENGTH).filter(np.any)
STEPS = hnp.arrays(
    np.float64, LENGTH, elements=st.integers(0, 32).map(lambda n: n / 64)
)
OPTIONS = {"deadline": None, "derandomize": True, "database": None}


@eqx.filter_jit
def call(model, xs, ts=None, queries=None, mask=None, state=None):
    return model(xs, ts, queries, mask, state=state)


@eqx.filter_jit
def final(model, xs, ts, mask):
    return model.final(xs, ts, mask=mask)


def padding_holds_nothing(xs, steps, mask, junk):
    """What stands in the padding, times included, is never looked at."""
    model, ts = make_model(CHOICES), np.cumsum(steps)
    dirty_xs = np.where(mask[:, None], xs, np.nan)
    dirty_ts = np.where(mask, ts, -junk[:, 0])
    outputs = call(model, dirty_xs, dirty_ts, ts, mask)
    assert_close(outputs, call(model, xs, ts, ts, mask))
    assert_close(final(model, dirty_xs, dirty_ts, mask), final(model, xs, ts, mask))


def valid_steps_are_the_sequence(xs, steps, mask, junk):
    """The valid steps, moved to the front, give the same outputs."""
    model, ts = make_model(CHOICES), np.cumsum(steps)
    order = np.argsort(~mask, kind="stable")
    outputs = call(model, xs, ts, ts, mask)
    moved = call(model, xs[order], ts[order], ts[order], mask[order])
    count = mask.sum()
    assert_close(outputs[mask], moved[:count])


def a_sequence_can_be_cut_anywhere(xs, steps, mask, junk):
    """Two calls, the second from the state of the first, are one."""
    model, ts = make_model(CHOICES), np.cumsum(steps)
    whole = call(model, xs, ts, ts, mask)
    for cut in np.flatnonzero(mask)[1:]:
        # Masks, not slices, so that all cuts share one compiled function.
        early = np.arange(LENGTH) < cut
        state = final(model, xs, ts, mask & early)
        rest = call(model, xs, ts, ts, mask & ~early, state)
        assert_close(rest[cut:], whole[cut:])


def channels_have_no_order(xs, steps, mask, junk):
    """With its channels swapped, a model does the same to swapped channels."""
    model, ts = make_model(Choices("dense")), np.cumsum(steps)
    swap = lambda array: array[:, ::-1]  # noqa: E731
    where = lambda m: (m.transition.B, m.initial.layers[0].weight)  # noqa: E731
    swapped = eqx.tree_at(where, model, [swap(array) for array in where(model)])
    assert_close(call(swapped, swap(xs), ts), call(model, xs, ts))


def default_times_are_even(xs, steps, mask, junk):
    """Without times, steps are spread evenly over [0, 1], padding included."""
    model = make_model(CHOICES)
    even = jnp.linspace(0, 1, LENGTH)
    assert_close(call(model, xs, None, None, mask), call(model, xs, even, even, mask))


def only_changes_matter_to_increments(xs, steps, mask, junk):
    """Moving all observations by a constant moves only the initial state."""
    model, ts = make_model(Choices("low_rank", "learnt")), np.cumsum(steps)
    assert_close(call(model, xs + junk[:1], ts), call(model, xs, ts))


LAWS = (
    padding_holds_nothing,
    valid_steps_are_the_sequence,
    a_sequence_can_be_cut_anywhere,
    channels_have_no_order,
    default_times_are_even,
    only_changes_matter_to_increments,
)


def check(law, examples):
    @hypothesis.settings(max_examples=examples, **OPTIONS)
    @hypothesis.given(xs=SEQUENCES, steps=STEPS, mask=MASKS, junk=SEQUENCES)
    def run(**given):
        law(**{name: jnp.asarray(array) for name, array in given.items()})

    with x64(True):
        run()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_law_holds(law):
    check(law, 15)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_law_holds_for_many_more(law):
    check(law, 500)


def bits(gaussian, levels):
    return wj.bits_per_dim(gaussian, levels[None], 8)


@hypothesis.settings(max_examples=25, **OPTIONS)
@hypothesis.given(mean=st.floats(-2, 2), std=st.floats(0.05, 20))
def test_no_gaussian_has_more_than_all_the_mass(mean, std):
    gaussian = wj.Gaussian(jnp.array([mean]), jnp.array([std]))
    mass = [2.0 ** -bits(gaussian, level) for level in jnp.linspace(-1, 1, 8)]
    assert np.isclose(sum(mass), 1, atol=1e-4)
