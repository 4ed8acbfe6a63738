"""Every roll gives every transition's numbers and gradients, at any length and mask."""

import functools
import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import (
    assert_close,
    make_model,
    make_sequence,
    named_arrays,
    TRANSITIONS,
    x64,
)
from .oracle import Choices


ROLLS = {
    "sequential": wj.SequentialRoll(),
    "segments": wj.SequentialRoll(segment=3),
    "associative": wj.AssociativeRoll(),
    "convolution": wj.ConvolutionRoll(),
    "chunks_of_1": wj.ChunkedRoll(1),
    "chunks_of_4": wj.ChunkedRoll(4),
    "chunks_of_16": wj.ChunkedRoll(16),
    "two_chunks_at_a_time": wj.ChunkedRoll(4, together=2),
    "auto": wj.AutoRoll(),
}
LENGTHS = (1, 2, 3, 17, 100, 1000)
MASKS = ("none", "holes", "leading", "trailing")
PRECISIONS = ("x64", "f32")
# Differentiating the oracle takes a run for each number, so long loops are left to JAX.
BY_HAND = 17


class Case(NamedTuple):
    """One of the product of all that a roll may meet."""

    transition: str
    roll: str
    length: int
    mask: str
    precision: str


PRODUCT = [
    Case(*parts)
    for parts in itertools.product(TRANSITIONS, ROLLS, LENGTHS, MASKS, PRECISIONS)
]


def pairs(case: Case) -> set:
    return set(itertools.combinations(enumerate(case), 2))


def covering() -> list[Case]:
    """Returns a case for each pair of a transition and a roll, chosen one after another
    so that as many other pairs as possible are met too.
    """
    met, chosen = set(), []
    for i, (transition, roll) in enumerate(itertools.product(TRANSITIONS, ROLLS)):
        # Not always the first one of those that are equally good.
        options = [c for c in PRODUCT if c[:2] == (transition, roll)]
        options = options[i % len(options) :] + options[: i % len(options)]
        best = max(options, key=lambda case: len(pairs(case) - met))
        met |= pairs(best)
        chosen.append(best)
    every = set().union(*map(pairs, PRODUCT))
    while every - met:
        chosen.append(max(PRODUCT, key=lambda case: len(pairs(case) - met)))
        met |= pairs(chosen[-1])
    return chosen


COVERING = covering()


def test_all_pairs_are_covered():
    met = set().union(*map(pairs, COVERING))
    assert met == set().union(*map(pairs, PRODUCT))


def make_mask(kind: str, length: int) -> np.ndarray | None:
    """Returns a mask with at least one valid step."""
    steps = np.arange(length)
    if kind == "none":
        return None
    if kind == "holes":
        mask = np.random.default_rng(length).random(length) < 0.6
        mask[length // 2] = True
        return mask
    return steps >= length // 3 if kind == "leading" else steps < length - length // 3


@eqx.filter_jit
def told(model, xs, ts, mask):
    """Returns all that a model tells of a sequence, and the gradients of a loss."""

    def loss(arguments):
        model, xs, ts = arguments
        outputs = model(xs, ts, ts + 0.125, mask)
        weights = model.weights(xs, ts, mask)
        final = model.final(xs, ts, mask=mask)
        values = {"outputs": outputs, "weights": weights, "final": final.theta}
        return mean_square(values), values

    (model_slopes, *slopes), values = eqx.filter_grad(loss, has_aux=True)(
        (model, xs, ts)
    )
    return values, (model_slopes, *slopes)


def mean_square(values):
    """Returns a loss of everything: each way to the states has a backward pass."""
    return sum(((value + 1) ** 2).mean() for value in values.values())


@eqx.filter_jit
def loop(model, xs, ts, mask):
    """Returns the slopes of the same loss, by steps from one state to the next."""

    def loss(arguments):
        model, xs, ts = arguments
        first = jnp.argmax(mask)
        state = model.init(xs[first], ts[first])

        def move(state, step):
            x, t, moves = step
            after = model.step(state, x, t)
            state = jax.tree.map(lambda a, b: jnp.where(moves, a, b), after, state)
            return state, (state.theta, model.read(state, t + 0.125))

        moves = mask & (jnp.arange(len(xs)) > first)
        last, (weights, outputs) = lax.scan(move, state, (xs, ts, moves))
        values = {"outputs": outputs, "weights": weights, "final": last.theta}
        return mean_square(values)

    return eqx.filter_grad(loss)((model, xs, ts))


@functools.cache
def expected(transition: str, length: int, kind: str):
    """Returns values by the oracle, and gradients by it or by a loop, in double."""
    choices, mask = Choices(transition, "learnt"), make_mask(kind, length)
    mask = np.ones(length, bool) if mask is None else mask
    with x64(True):
        model, (xs, ts) = make_model(choices), make_sequence(length)
        w = named_arrays(model) | {"xs": np.asarray(xs), "ts": np.asarray(ts)}

        def values(w):
            sequence = w["xs"], w["ts"], w["ts"] + 0.125
            thetas, ys = oracle.run(choices, w, *sequence, mask)
            return {"outputs": ys, "weights": thetas, "final": thetas[-1]}

        if length <= BY_HAND:
            slopes = oracle.gradient(lambda w: mean_square(values(w)), w)
        else:
            model_slopes, *rest = loop(model, xs, ts, jnp.asarray(mask))
            slopes = named_arrays(model_slopes) | dict(zip(("xs", "ts"), rest))
        return values(w), jax.tree.map(np.asarray, slopes)


def check(case: Case):
    mask = make_mask(case.mask, case.length)
    want, want_slopes = expected(case.transition, case.length, case.mask)
    with x64(case.precision == "x64"):
        model = make_model(Choices(case.transition, "learnt"), roll=ROLLS[case.roll])
        xs, ts = make_sequence(case.length)
        got, (model_slopes, *slopes) = told(model, xs, ts, mask)
        assert_close(got, want)
        got_slopes = named_arrays(model_slopes) | dict(zip(("xs", "ts"), slopes))
        assert_close(got_slopes, want_slopes, "gradient in ")


@pytest.mark.parametrize("case", COVERING, ids=lambda case: "-".join(map(str, case)))
def test_every_roll_is_the_recurrence(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("length", (2, 17, 100))
@pytest.mark.parametrize("roll", ROLLS)
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_every_roll_is_the_recurrence_throughout(transition, roll, length):
    # The masks take turns: all of them with everything would be an hour.
    turn = list(ROLLS).index(roll) + list(TRANSITIONS).index(transition) + length
    check(Case(transition, roll, length, MASKS[turn % len(MASKS)], "x64"))
