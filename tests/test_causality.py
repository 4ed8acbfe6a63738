"""The future does not reach the past."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_same, CAUSAL_DRIVES, joined, make_model, make_sequence
from .oracle import Choices


LENGTH = 6


@eqx.filter_jit
def influence(model, xs, ts):
    """Returns how much each output moves with each observation, `(time, time)`."""
    slopes = jax.jacrev(lambda xs: joined(model(xs, ts)))(xs)
    return jnp.sum(jnp.abs(slopes), axis=(1, 3))


@pytest.mark.parametrize("drive, time_channel", CAUSAL_DRIVES)
def test_no_output_knows_a_later_observation(drive, time_channel, double):
    choices = Choices(drive=drive, time_channel=time_channel, decoder="gaussian")
    slopes = influence(make_model(choices), *make_sequence(LENGTH))
    assert not np.any(np.triu(slopes, 1))
    assert np.all(slopes[np.tril_indices(LENGTH)])


def test_a_noncausal_drive_says_so_in_its_name(double):
    slopes = influence(make_model(Choices(drive="noncausal")), *make_sequence(LENGTH))
    # A window of three sees one step ahead, but nothing changes the first state.
    ahead = np.diagonal(slopes, 1)
    assert ahead[0] == 0 and np.all(ahead[1:])
    assert not np.any(np.triu(slopes, 2))


@pytest.mark.parametrize("drive", ("increments", "causal"))
def test_nothing_after_the_context_changes_a_forecast(drive, double):
    choices = Choices(drive=drive, time_channel=True, decoder="observing")
    model, (xs, ts) = make_model(choices), make_sequence(8)
    forced = jnp.arange(7) < 3

    @eqx.filter_jit
    def free(model, xs):
        return wj.unroll(model, xs, ts, forced)

    # With four steps known, the forced steps feed xs[1], xs[2] and xs[3].
    later = xs.at[4:].set(9.0)
    assert_same(free(model, later), free(model, xs))
    earlier = xs.at[3].set(9.0)
    assert not np.any(np.isclose(free(model, earlier)[3:], free(model, xs)[3:]))


def test_padding_hides_the_future_too(double):
    """With `mask` a later observation reaches no earlier output either."""
    model, (xs, ts) = make_model(Choices(drive="causal")), make_sequence(LENGTH)
    mask = jnp.array([1, 0, 1, 1, 0, 1], bool)
    run = eqx.filter_jit(lambda xs: model(xs, ts, mask=mask))
    moved = run(xs.at[3].set(9.0))
    assert_same(moved[:3], run(xs)[:3])
    assert not np.any(np.isclose(moved[3:], run(xs)[3:]))
