"""Padding changes nothing: neither values, nor gradients, whatever it holds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import (
    assert_close,
    assert_same,
    DRIVES,
    joined,
    make_model,
    make_sequence,
    named_arrays,
)
from .oracle import Choices


jit = eqx.filter_jit
VALID = 5
MASKS = jnp.array(
    [
        [1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 1],
        [0, 1, 1, 0, 1, 1, 0, 1],
    ],
    bool,
)


def make_padded(junk=jnp.nan):
    """Returns sequences of five steps, and the same with junk between, for each mask."""
    sequences = [make_sequence(VALID, seed) for seed in range(len(MASKS))]
    xs, ts = (jnp.stack(arrays) for arrays in zip(*sequences))
    padded_xs = jnp.full((*MASKS.shape, xs.shape[-1]), junk, xs.dtype)
    padded_ts = jnp.full(MASKS.shape, junk, ts.dtype)
    rows, columns = np.nonzero(MASKS)
    padded_xs = padded_xs.at[rows, columns].set(xs.reshape(-1, xs.shape[-1]))
    padded_ts = padded_ts.at[rows, columns].set(ts.ravel())
    return (xs, ts), (padded_xs, padded_ts)


def unpadded(array):
    return array[np.nonzero(MASKS)].reshape(len(MASKS), VALID, *array.shape[2:])


@eqx.filter_jit
def everything(model, xs, ts, mask, keys):
    """Returns a batch's outputs, last outputs and last states, and a loss's gradient."""

    def one(model, x, t, mask, key):
        output = joined(model(x, t, mask=mask, key=key))
        target = jnp.where(jnp.isnan(x[:, :1]), jnp.nan, jnp.ones_like(output))
        state = model.final(x, t, mask=mask, key=key)
        last = joined(model.read(state, state.t))
        return wj.mse(output, target, mask) + jnp.sum(last**2), (output, state)

    def loss(arguments):
        axes = (None, 0, 0, *(None if array is None else 0 for array in (mask, keys)))
        losses, told = jax.vmap(one, axes)(*arguments, mask, keys)  # pyright: ignore[reportCallIssue]
        return jnp.sum(losses), told

    run = eqx.filter_value_and_grad(loss, has_aux=True)
    (value, told), (slope, *slopes) = run((model, xs, ts))
    return value, told, slope, slopes


def check_padded(model, keys=None):
    """Compares padded sequences, whatever the padding holds, with those without it.

    `keys` are of the sequences, where parts of the model are random.
    """
    want_value, want_told, want_slope, want_slopes = everything(
        model, *make_padded()[0], None, keys
    )
    for junk in (jnp.nan, 9.0):
        got = everything(model, *make_padded(junk)[1], MASKS, keys)
        value, (output, state), slope, slopes = got
        assert_close(value, want_value)
        assert_close((unpadded(output), state), want_told)
        assert_close(named_arrays(slope), named_arrays(want_slope))
        assert_close([unpadded(s) for s in slopes], want_slopes)
        assert not any(np.any(s[~MASKS]) for s in slopes)


def check_padding(drive, time_channel, decoder):
    check_padded(
        make_model(Choices("low_rank", "learnt", drive, time_channel, decoder))
    )


# Beside those of which others are made.
RARE = [("products", False), ("causal_products", True), ("signature", False)]
RARE += [("embedded", False), ("noncausal", False), ("causal", False)]
RARE += [(drive, True) for drive in ("signature", "embedded", "increments", "values")]


@pytest.mark.parametrize(
    "drive, time_channel",
    [
        *(drive for drive in DRIVES if drive not in RARE),
        *(pytest.param(*drive, marks=pytest.mark.slow) for drive in RARE),
    ],
)
def test_a_padded_batch_is_its_sequences(drive, time_channel, double):
    check_padding(drive, time_channel, "observing" if time_channel else "gaussian")


@pytest.mark.slow
@pytest.mark.parametrize("drive", ("increments", "causal"))
def test_a_padded_batch_is_its_sequences_in_any_precision(drive, precision):
    check_padding(drive, True, "network")


def test_a_mask_without_padding_changes_nothing(double):
    model, (xs, ts) = make_model(Choices(drive="causal")), make_sequence(7)
    assert_close(jit(model)(xs, ts, mask=jnp.ones(7, bool)), jit(model)(xs, ts))


def test_padding_repeats_the_latest_weights(double):
    model, (xs, ts) = make_model(), make_sequence(7)
    mask = jnp.array([0, 1, 0, 1, 0, 0, 0], bool)
    thetas = jit(model.weights)(xs, ts, mask)
    a, b = jit(model.weights)(xs[mask], ts[mask])
    assert_close(thetas, jnp.stack([a, a, a, b, b, b, b]))


def test_padding_is_read_at_its_own_time_or_at_the_query(double):
    model, (xs, ts) = make_model(Choices(decoder="observing")), make_sequence(7)
    mask = jnp.array([1, 1, 0, 0, 0, 0, 0], bool)
    state = jit(model.final)(xs[:2], ts[:2])
    run = jit(model)
    assert_close(run(xs, ts, mask=mask)[3], model.read(state, ts[3]))
    assert_close(run(xs, ts, ts + 1, mask)[2], model.read(state, ts[2] + 1))
    unknown = ts.at[2:].set(jnp.nan)
    assert_close(run(xs, unknown, mask=mask)[3], model.read(state, ts[1]))


@pytest.mark.parametrize("drive", ("increments", "causal"))
def test_padding_continues_from_a_state(drive, double):
    choices = Choices(drive=drive, time_channel=True, decoder="observing")
    model, (xs, ts) = make_model(choices), make_sequence(7)
    mask = jnp.array([1, 0, 1, 0, 1, 0, 1], bool)
    whole = jit(model)(xs, ts, mask=mask)
    # The second part begins with padding, which must still see the first part.
    state = jit(model.final)(xs[:3], ts[:3], mask=mask[:3])
    second = {"mask": mask[3:], "state": state}
    assert_close(jit(model)(xs[3:], ts[3:], **second), whole[3:])
    end = jit(model.final)(xs[3:], ts[3:], **second)
    assert_close(end, jit(model.final)(xs, ts, mask=mask))


def test_padded_times_need_no_order(double):
    model, (xs, ts) = make_model(), make_sequence(7)
    mask = jnp.array([1, 0, 1, 1, 1, 1, 1], bool)
    moved = ts.at[1].set(-9.0)
    assert_same(jit(model)(xs, moved, ts, mask), jit(model)(xs, ts, ts, mask))
