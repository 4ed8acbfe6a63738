"""Series changed at random, against NumPy: what moves, and what must not."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._augment import (
    Augmented,
    augmented,
    Chain,
    Jitter,
    Scale,
    Shift,
    TimeWarp,
)
from experiments._data import Split
from experiments._tasks import Classification

from .helpers import assert_close, assert_same, make_model, make_sequence, perturbed


LENGTH, CHANNELS = 9, 2
MASKS = {
    "none": None,
    "padded": np.arange(LENGTH) < 6,
    "gaps": np.array([0, 1, 1, 0, 1, 1, 0, 1, 0], bool),
    "one": np.arange(LENGTH) == 3,
}
KINDS = {
    "warp": TimeWarp(0.7),
    "scale": Scale(0.3),
    "jitter": Jitter(0.2),
    "chain": Chain(TimeWarp(0.5, knots=3), Scale(0.2), Jitter(0.1)),
}


def series(seed=0):
    return np.random.default_rng(seed).normal(size=(LENGTH, CHANNELS))


def warped(xs, logarithms):
    """Returns all steps of `xs` by a clock that is summed step by step."""
    last, clock = len(xs) - 1, [0.0]
    for step in range(1, len(xs)):
        place = (step - 0.5) / last * (len(logarithms) - 1)
        knot = min(int(place), len(logarithms) - 2)
        share = place - knot
        speed = (1 - share) * logarithms[knot] + share * logarithms[knot + 1]
        clock.append(clock[-1] + np.exp(speed))
    clock = np.array(clock) * last / max(clock[-1], 1e-300)
    at = np.arange(len(xs))
    return np.stack([np.interp(clock, at, channel) for channel in xs.T], 1)


@pytest.mark.parametrize("mask", MASKS)
def test_a_warp_is_that_of_a_clock_summed_step_by_step(mask, double):
    xs, mask, key = series(), MASKS[mask], jr.key(3)
    valid = np.ones(LENGTH, bool) if mask is None else mask
    wanted = xs.copy()
    logarithms = 0.7 * np.asarray(jr.normal(key, (4,), jnp.asarray(xs).dtype))
    wanted[valid] = warped(xs[valid], logarithms)
    got = TimeWarp(0.7)(jnp.asarray(xs), mask, key)
    assert_close(got, wanted)
    first, last = np.flatnonzero(valid)[[0, -1]]
    assert_close(got[first], xs[first])
    assert_close(got[last], xs[last])
    moved = np.abs(np.asarray(got) - xs)[valid]
    assert (moved.max() > 1e-2) == (valid.sum() > 2)


def test_scale_and_jitter_are_one_number_a_channel_and_one_a_step(double):
    xs, key = jnp.asarray(series()), jr.key(4)
    scaled, jittered = Scale(0.3)(xs, None, key), Jitter(0.2)(xs, None, key)
    factors = np.exp(0.3 * np.asarray(jr.normal(key, (CHANNELS,), xs.dtype)))
    assert_close(scaled, np.asarray(xs) * factors)
    noise = 0.2 * np.asarray(jr.normal(key, xs.shape, xs.dtype))
    assert_close(jittered, np.asarray(xs) + noise)


def test_a_chain_is_its_changes_in_order(double):
    xs, mask = jnp.asarray(series()), jnp.asarray(MASKS["padded"])
    own = jr.split(jr.key(5), 4)
    wanted = xs
    for change, key in zip((TimeWarp(0.5, 3), Scale(0.2), Jitter(0.1)), own):
        wanted = change(wanted, mask, key)
    assert_same(KINDS["chain"](xs, mask, jr.key(5)), wanted)
    assert_same(Chain()(xs, mask, jr.key(5)), xs)


def test_a_picture_is_moved_whole_and_its_edge_goes_on():
    rows, columns, most = 4, 5, 2
    shift = Shift((rows, columns), most)
    picture = np.random.default_rng(0).normal(size=(rows, columns, 2)).astype("float32")
    xs = jnp.asarray(picture.reshape(-1, 2))
    padded = np.pad(picture, ((most, most), (most, most), (0, 0)), mode="edge")
    allowed = {
        padded[down : down + rows, right : right + columns].tobytes()
        for down in range(2 * most + 1)
        for right in range(2 * most + 1)
    }
    keys = jr.split(jr.key(0), 400)
    moved = np.asarray(jax.jit(jax.vmap(lambda k: shift(xs, None, k)))(keys))
    got = {each.reshape(picture.shape).tobytes() for each in moved}
    assert got == allowed and len(allowed) == 25


@pytest.mark.parametrize("mask", MASKS)
def test_without_strength_nothing_changes_to_the_last_bit(mask, precision):
    xs = jnp.asarray(series())
    kind = Chain(TimeWarp(0.0), Scale(0.0), Jitter(0.0), Shift((3, 3), 0))
    assert_same(jax.jit(kind)(xs, MASKS[mask], jr.key(0)), xs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", ("padded", "gaps"))
def test_padding_neither_changes_nor_counts(kind, mask):
    mask = MASKS[mask]
    xs = jnp.asarray(series(), jnp.float32)
    filled = jnp.where(mask[:, None], xs, jnp.nan)
    got = jax.jit(KINDS[kind])(xs, mask, jr.key(6))
    again = jax.jit(KINDS[kind])(filled, mask, jr.key(6))
    assert_same(got[mask], again[mask])
    assert_same(got[~mask], xs[~mask])
    assert np.any(np.asarray(got[mask]) != np.asarray(xs[mask]))


def test_every_series_of_a_batch_is_changed_by_itself_and_the_rest_is_kept():
    xs = np.broadcast_to(series().astype(np.float32), (3, LENGTH, CHANNELS))
    mask = np.stack([MASKS["padded"], MASKS["gaps"], MASKS["padded"]])
    batch = Split(xs, np.arange(3), mask)
    after = jax.jit(augmented)(KINDS["chain"], batch, jr.key(7))
    np.testing.assert_array_equal(after.mask, mask)
    np.testing.assert_array_equal(after.labels, np.arange(3))
    assert np.any(np.asarray(after.xs[0]) != np.asarray(after.xs[2]))
    assert_same(jax.jit(augmented)(KINDS["chain"], batch, jr.key(7)).xs, after.xs)
    assert np.any(
        np.asarray(augmented(KINDS["chain"], batch, jr.key(8)).xs != after.xs)
    )


def test_a_task_trains_on_changed_series_and_is_judged_on_those_that_are():
    model, key = perturbed(make_model()), jr.key(9)
    xs = np.stack([make_sequence(LENGTH, seed)[0] for seed in range(3)])
    split = Split(xs, np.arange(3) % 2)
    plain = Classification()
    task = Augmented(plain, Jitter(0.3))
    own, rest = jr.split(key)
    changed = xs + 0.3 * np.stack(
        [jr.normal(k, xs.shape[1:]) for k in jr.split(own, 3)]
    )
    wanted = plain.loss(model, split._replace(xs=changed), rest)
    assert_close(task.loss(model, split, key), wanted)
    assert abs(float(wanted - plain.loss(model, split, rest))) > 1e-4
    assert task.validate(split)(model) == plain.validate(split)(model)
    assert task.test(split)(model) == plain.test(split)(model)
    assert isinstance(model, wj.AbstractModel)


@pytest.mark.parametrize(
    "make, said",
    (
        (lambda: TimeWarp(-0.1), "`TimeWarp(strength)` needs a finite strength"),
        (lambda: Scale(float("nan")), "got nan"),
        (lambda: Jitter(float("inf")), "got inf"),
        (lambda: TimeWarp(0.1, knots=1), "got 1"),
        (lambda: Shift((2, 2), -1), "whole pixels, 0 or more; got -1"),
        (lambda: Shift((2, 2), 0.5), "got 0.5"),
        (
            lambda: Shift((2, 2), 1)(jnp.zeros((5, 1)), None, jr.key(0)),
            "`Shift((2, 2), ...)` needs series of 4 pixels; got 5 steps",
        ),
    ),
)
def test_a_strength_that_means_nothing_is_refused(make, said):
    with pytest.raises(ValueError) as caught:
        make()
    assert said in str(caught.value)
