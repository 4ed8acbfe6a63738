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


VALID = 5
MASKS = jnp.array(
    [
        [1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 1],
        [0, 1, 1, 0, 1, 1, 0, 1],
    ],
    bool,
)


def make_padded():
    """Returns sequences of five steps, and the same with NaN between, for each mask."""
    sequences = [make_sequence(VALID, seed) for seed in range(len(MASKS))]
    xs, ts = (jnp.stack(arrays) for arrays in zip(*sequences))
    padded_xs = jnp.full((*MASKS.shape, xs.shape[-1]), jnp.nan, xs.dtype)
    padded_ts = jnp.full(MASKS.shape, jnp.nan, ts.dtype)
    rows, columns = np.nonzero(MASKS)
    padded_xs = padded_xs.at[rows, columns].set(xs.reshape(-1, xs.shape[-1]))
    padded_ts = padded_ts.at[rows, columns].set(ts.ravel())
    return (xs, ts), (padded_xs, padded_ts)


def unpadded(array):
    return array[np.nonzero(MASKS)].reshape(len(MASKS), VALID, *array.shape[2:])


def everything(model, xs, ts, mask):
    """Returns outputs, last output, last state and weights of a batch, and gradients."""

    def one(model, x, t, mask):
        output = joined(model(x, t, mask=mask))
        target = jnp.where(jnp.isnan(x[:, :1]), jnp.nan, jnp.ones_like(output))
        loss = wj.mse(output, target, mask)
        last = joined(model.last(x, t, mask=mask))
        return loss + jnp.sum(last**2), (output, last, model.final(x, t, mask=mask))

    def loss(arguments):
        model, xs = arguments
        axes = (None, 0, 0, None if mask is None else 0)
        losses, told = jax.vmap(one, axes)(model, xs, ts, mask)
        return jnp.sum(losses), told

    (value, told), slopes = eqx.filter_value_and_grad(loss, has_aux=True)((model, xs))
    return value, told, slopes


@pytest.mark.parametrize("drive, time_channel", DRIVES)
def test_a_padded_batch_is_its_sequences(drive, time_channel, precision):
    decoder = "observing" if time_channel else "gaussian"
    choices = Choices(
        "low_rank", drive=drive, time_channel=time_channel, decoder=decoder
    )
    model, (bare, padded) = make_model(choices), make_padded()
    run = eqx.filter_jit(everything)
    value, (output, *told), (slope, x_slope) = run(model, *padded, MASKS)
    want_value, (want, *want_told), (want_slope, want_x_slope) = run(model, *bare, None)
    assert_close(value, want_value)
    assert_close(unpadded(output), want)
    assert_close(told, want_told)
    assert_close(named_arrays(slope), named_arrays(want_slope))
    assert_close(unpadded(x_slope), want_x_slope)
    assert not np.any(x_slope[~MASKS])


def test_a_mask_without_padding_changes_nothing(precision):
    model, (xs, ts) = make_model(Choices(drive="causal")), make_sequence(4)
    assert_close(model(xs, ts, mask=jnp.ones(4, bool)), model(xs, ts))


def test_padding_repeats_the_latest_weights(precision):
    model, (xs, ts) = make_model(), make_sequence(6)
    mask = jnp.array([0, 1, 0, 1, 0, 0], bool)
    thetas = model.weights(xs, ts, mask)
    a, b = model.weights(xs[mask], ts[mask])
    assert_close(thetas, jnp.stack([a, a, a, b, b, b]))


def test_padding_is_read_at_its_own_time_or_at_the_query(precision):
    model, (xs, ts) = make_model(Choices(decoder="observing")), make_sequence(4)
    mask = jnp.array([1, 1, 0, 0], bool)
    state = model.final(xs[:2], ts[:2])
    assert_close(model(xs, ts, mask=mask)[3], model.read(state, ts[3]))
    assert_close(model(xs, ts, ts + 1, mask)[2], model.read(state, ts[2] + 1))
    unknown = ts.at[2:].set(jnp.nan)
    assert_close(model(xs, unknown, mask=mask)[3], model.read(state, ts[1]))


@pytest.mark.parametrize("drive", ("increments", "causal"))
def test_padding_continues_from_a_state(drive, precision):
    choices = Choices(drive=drive, time_channel=True, decoder="observing")
    model, (xs, ts) = make_model(choices), make_sequence(8)
    mask = jnp.array([1, 0, 1, 0, 0, 1, 0, 1], bool)
    whole = model(xs, ts, mask=mask)
    # The second part begins with padding, which must still see the first part.
    state = model.final(xs[:3], ts[:3], mask=mask[:3])
    assert_close(model(xs[3:], ts[3:], mask=mask[3:], state=state), whole[3:])
    end = model.final(xs[3:], ts[3:], mask=mask[3:], state=state)
    assert_close(end, model.final(xs, ts, mask=mask))


def test_padded_times_need_no_order():
    model, (xs, ts) = make_model(), make_sequence(4)
    mask = jnp.array([1, 0, 1, 1], bool)
    assert_same(model(xs, ts.at[1].set(-9.0), ts, mask), model(xs, ts, ts, mask))
