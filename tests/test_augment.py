"""Series changed at random, against NumPy: what moves, and what must not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments._augment import (
    AbstractAugmentation,
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

from . import oracle
from .helpers import assert_close, assert_same, make_model, make_sequence, named_arrays
from .oracle import Choices


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


def in_numpy(kind, xs, mask, key):
    """Changes the valid steps of a series by the numbers that `key` draws."""
    draw = lambda *shape: np.asarray(jr.normal(key, shape, float))  # noqa: E731
    after = xs.copy()
    if isinstance(kind, TimeWarp):
        after[mask] = warped(xs[mask], kind.strength * draw(kind.knots))
    elif isinstance(kind, Scale):
        after[mask] = xs[mask] * np.exp(kind.strength * draw(xs.shape[1]))
    else:
        after[mask] = xs[mask] + kind.strength * draw(*xs.shape)[mask]
    return after


WARPS = {
    "of_2_knots": TimeWarp(0.7, knots=2),
    "of_4_knots": TimeWarp(0.7),
    "of_7_knots": TimeWarp(0.5, knots=7),
}
ALONE = WARPS | {name: KINDS[name] for name in ("scale", "jitter")}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ALONE)
def test_a_change_and_its_gradient_are_those_of_numpy(kind, mask, double):
    """A warp has a clock that is summed step by step; a scale is one number a channel,
    and a jitter one a step.
    """
    xs, given, kind, key = series(), MASKS[mask], ALONE[kind], jr.key(3)
    valid = np.ones(LENGTH, bool) if given is None else given
    filled = jnp.where(valid[:, None], xs, jnp.nan)

    def loss(xs):
        after = kind(xs, given, key)
        return jnp.sum((after[valid] + 1) ** 2), after

    slope, got = jax.grad(loss, has_aux=True)(filled)
    wanted = in_numpy(kind, xs, valid, key)
    assert_close(got[valid], wanted[valid])
    assert_close(kind(jnp.asarray(xs), given, key), wanted)
    slopes = oracle.gradient(
        lambda w: np.sum((in_numpy(kind, w["xs"], valid, key)[valid] + 1) ** 2),
        {"xs": xs},
    )
    assert_close(slope, slopes["xs"])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", WARPS)
def test_a_warp_leaves_both_ends_where_they_are(kind, mask, double):
    xs, given = series(), MASKS[mask]
    valid = np.ones(LENGTH, bool) if given is None else given
    got = WARPS[kind](jnp.asarray(xs), given, jr.key(3))
    first, last = np.flatnonzero(valid)[[0, -1]]
    assert_close((got[first], got[last]), (xs[first], xs[last]))
    moved = np.abs(np.asarray(got) - xs)[valid]
    assert (moved.max() > 1e-2) == (valid.sum() > 2)


class Affine(AbstractAugmentation):
    """A change without chance."""

    factor: float
    offset: float

    def change(self, xs, mask, key):
        return self.factor * xs + self.offset


class Drawn(AbstractAugmentation):
    """Adds to one channel what it has drawn."""

    channel: int

    def change(self, xs, mask, key):
        return xs.at[:, self.channel].add(jr.normal(key))


def test_a_chain_is_its_changes_in_order(double):
    xs, mask, key = series(), MASKS["gaps"], jr.key(5)
    one, two, three = Affine(2.0, 1.0), Affine(-3.0, 0.5), Affine(0.5, -2.0)
    got = Chain(one, two, three)(jnp.asarray(xs), mask, key)
    wanted = 0.5 * (-3.0 * (2.0 * xs + 1.0) + 0.5) - 2.0
    assert_close(got, np.where(mask[:, None], wanted, xs))
    assert_same(Chain()(jnp.asarray(xs), mask, key), jnp.asarray(xs))


def test_the_changes_of_a_chain_draw_numbers_of_their_own():
    chain, keys = Chain(Drawn(0), Drawn(1), Drawn(0)), jr.split(jr.key(0), 2000)
    zeros = jnp.zeros((1, 2))
    drawn = jax.jit(jax.vmap(lambda key: chain(zeros, None, key)))(keys)[:, 0]
    covariance = np.cov(np.asarray(drawn).T)
    # The first channel has two draws, whose variances add up where they are apart.
    np.testing.assert_allclose(covariance, np.diag([2.0, 1.0]), atol=0.25)


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


@pytest.mark.parametrize("kind", ("of_7_knots", "scale", "jitter"))
def test_a_task_trains_on_changed_series(kind, double):
    """The loss and its gradient are those of a batch that NumPy has changed."""
    choices, ts, kind = Choices("low_rank"), np.linspace(0, 1, LENGTH), ALONE[kind]
    model, key = make_model(choices), jr.key(9)
    xs = np.stack([make_sequence(LENGTH, seed)[0] for seed in range(3)])
    labels = np.array([0, 1, 1])
    mask = np.stack([MASKS["padded"], MASKS["gaps"], np.ones(LENGTH, bool)])
    split = Split(np.where(mask[..., None], xs, np.nan), labels, mask)
    slopes = eqx.filter_value_and_grad(Augmented(Classification(), kind).loss)
    value, slope = eqx.filter_jit(slopes)(model, split, key)
    own = jr.split(jr.split(key)[0], 3)
    changed = [in_numpy(kind, *each) for each in zip(xs, mask, own)]

    def loss(w, batch):
        total = 0.0
        for x, valid, label in zip(batch, mask, labels):
            theta = oracle.run(choices, w, x[valid], ts[valid])[0][-1]
            logits = oracle.decode(choices, w, theta, None, 1.0)
            # Two logits cannot overflow here, so none is subtracted.
            total = total + np.log(np.sum(np.exp(logits))) - logits[label]
        return total / 3

    w = named_arrays(model)
    assert_close(value, loss(w, changed))
    assert_close(named_arrays(slope), oracle.gradient(lambda w: loss(w, changed), w))
    assert abs(loss(w, changed) - loss(w, xs)) > 1e-3


def test_a_task_is_judged_on_series_as_they_are():
    model, plain = make_model(Choices("low_rank")), Classification()
    xs = np.stack([make_sequence(LENGTH, seed)[0] for seed in range(3)])
    task, split = Augmented(plain, Jitter(0.3)), Split(xs, np.arange(3) % 2)
    assert task.validate(split)(model) == plain.validate(split)(model)
    assert task.test(split)(model) == plain.test(split)(model)


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
