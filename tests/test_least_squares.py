"""Least squares of every sequence against NumPy: values, gradients, streams, padding."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import assert_close, make_sequence, named_arrays
from .laws import companion, expm, physics
from .test_mask import check_padded
from .test_streaming import check_slopes_in_parts, check_values_in_parts


LENGTH, DT = 9, 0.2
# Padding comes first, last and between.
MASK = np.array([0, 1, 1, 1, 0, 1, 1, 1, 0], bool)
DRIVE, FIRST, READ = ".drive.pairs", ".initial.features", ".decoder.features"


class Lift(eqx.Module):
    """Trained features of a number or several, tanh(W x)."""

    W: jax.Array

    def __call__(self, x):
        return jnp.tanh(self.W @ x)


def lifted(w, place, x):
    return np.tanh(w[f"{place}.lift.W"] @ x)


def power(S, count):
    """Returns S to a power, of two rows with complex eigenvalues: smooth in its entries,
    in complex numbers too, as SciPy's logarithm is not.
    """
    half = (S[0, 0] + S[1, 1]) / 2
    size = np.sqrt(S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0])
    swing = np.sqrt(size**2 - half**2)
    angle = np.arctan(swing / half) * count
    turned = np.cos(angle) * np.eye(2) + np.sin(angle) / swing * (S - half * np.eye(2))
    return size**count * turned


class Law(NamedTuple):
    """Features of the library, and by hand: which inputs and targets a step makes, `first`
    or not, and what a solution `P` says of a time that `passed` after an observation.
    """

    make: Callable[[], physics.AbstractFeatures]
    step: Callable
    read: Callable
    sizes: tuple[int, int]
    first: Callable | None = None
    # How many steps of the sequence it takes before there is anything to compare.
    after: int = 0


LAWS = {
    "steps": Law(
        lambda: physics.Steps(2),
        lambda w, before, now: (before, now - before),
        lambda w, P, x, passed: x + x @ P,
        (2, 2),
    ),
    "driven": Law(
        lambda: physics.Steps(1, inputs=1, affine=True),
        lambda w, before, now: (np.append(before, 1), (now - before)[:1]),
        lambda w, P, x, passed: x[:1] + np.append(x, 1) @ P,
        (3, 1),
    ),
    "lifted": Law(
        lambda: physics.Steps(
            2, lift=Lift(jnp.array([[0.7, -0.4], [0.2, 1.1], [-0.9, 0.3]]))
        ),
        lambda w, before, now: (lifted(w, DRIVE, before), now - before),
        lambda w, P, x, passed: x + lifted(w, READ, x) @ P,
        (3, 2),
    ),
    "tokens": Law(
        lambda: physics.Tokens(1, lift=Lift(jnp.array([[0.7], [-1.6]]))),
        lambda w, before, now: (lifted(w, DRIVE, now[:1]), now[1:]),
        lambda w, P, x, passed: lifted(w, READ, x[:1]) @ P,
        (2, 1),
        lambda w, now: (lifted(w, FIRST, now[:1]), now[1:]),
    ),
    # Before there are two pairs it does not turn, and has no logarithm by that formula.
    "timed": Law(
        lambda: physics.Steps(2, dt=DT),
        lambda w, before, now: (before, now - before),
        lambda w, P, x, passed: power(np.eye(2) + P.T, passed / DT) @ x,
        (2, 2),
        after=3,
    ),
}


class Numbers(NamedTuple):
    """What is trained, and how many steps it takes until the solution is determined."""

    ridge: float = 0.0
    scaled_ridge: float = 0.0
    keep: float = 1.0
    after: int = 0


NUMBERS = {
    "none": Numbers(after=6),
    "ridge": Numbers(ridge=0.3),
    "scaled_ridge": Numbers(scaled_ridge=0.1, after=2),
    "keep": Numbers(keep=0.8, after=6),
    "all": Numbers(0.2, 0.05, 0.9),
}


def make_law(law: str, numbers: Numbers, kind: Callable = jnp.array) -> wj.WARP:
    """Returns a model of which every number is trained, or with `float` none is."""
    return physics.least_squares(
        LAWS[law].make(),
        kind(numbers.ridge),
        scaled_ridge=kind(numbers.scaled_ridge),
        keep=kind(numbers.keep),
    )


def make_swing() -> tuple[jax.Array, jax.Array]:
    """Returns a damped oscillation with noise, and uneven times, `(LENGTH, 2)`."""
    step, noise = expm(companion(4.0, 0.4) * DT), make_sequence(LENGTH)
    xs = [np.array([1.0, 0.5])]
    for _ in range(LENGTH - 1):
        xs.append(step @ xs[-1])
    return jnp.asarray(np.stack(xs)) + 0.05 * noise[0], noise[1]


def by_hand(law: Law, w, xs, ts, queries, after):
    """Returns the sums after each step, and from step `after` on what is read."""
    n, m = law.sizes
    square, across, before = np.zeros((n, n)), np.zeros((n, m)), None
    at, x = (array[np.flatnonzero(MASK)[0]] for array in (ts, xs))
    sums, outputs = [], []
    if law.first:
        inputs, targets = law.first(w, x)
        square, across = np.outer(inputs, inputs), np.outer(inputs, targets)
    for i in range(LENGTH):
        if MASK[i]:
            x, at = xs[i], ts[i]
            if before is not None:
                inputs, targets = law.step(w, before, x)
                square = w[".transition.keep"] * square + np.outer(inputs, inputs)
                across = w[".transition.keep"] * across + np.outer(inputs, targets)
            before = x
        sums.append(np.append(square[np.triu_indices(n)], across))
        if i >= after:
            penalty = w[".decoder.ridge"] * np.eye(n)
            penalty = penalty + w[".decoder.scaled_ridge"] * np.diag(np.diag(square))
            P = np.linalg.solve(square + penalty, across)
            outputs.append(law.read(w, P, x, queries[i] - at))
    return np.stack(sums), np.stack(outputs)


@eqx.filter_jit
def everything(model, xs, ts, queries, counted):
    """Returns sums and outputs, and gradients of a loss of the outputs that count."""

    def loss(arguments):
        model, xs, ts = arguments
        outputs = model(xs, ts, queries, jnp.asarray(MASK))
        squares = jnp.where(counted[:, None], (outputs + 1) ** 2, 0)
        return jnp.sum(squares), outputs

    slopes, outputs = eqx.filter_grad(loss, has_aux=True)((model, xs, ts))
    return model.weights(xs, ts, jnp.asarray(MASK)), outputs, slopes


def check(name: str, numbers: Numbers, kind: Callable = jnp.array):
    law, (xs, ts) = LAWS[name], make_swing()
    queries, after = (
        ts + 0.05 * jnp.arange(1, LENGTH + 1),
        max(law.after, numbers.after),
    )
    xs, ts = jnp.where(MASK[:, None], xs, jnp.nan), jnp.where(MASK, ts, jnp.nan)
    model = make_law(name, numbers, kind)
    counted = jnp.arange(LENGTH) >= after
    sums, outputs, slopes = everything(model, xs, ts, queries, counted)

    w = named_arrays(make_law(name, numbers)) | {
        "xs": np.asarray(xs, np.float64),
        "ts": np.asarray(ts, np.float64),
    }

    def values(w):
        given = w["xs"], w["ts"], np.asarray(queries, np.float64)
        return by_hand(law, w, *given, after)

    assert_close((sums, outputs[after:]), values(w))
    want = oracle.gradient(lambda w: np.sum((values(w)[1] + 1) ** 2), w)
    got = named_arrays(slopes[0]) | dict(zip(("xs", "ts"), slopes[1:]))
    assert_close(got, {place: want[place] for place in got}, "gradient in ")
    assert kind is float or set(got) == set(w)
    # What is trained moves the outputs, or the comparison would be empty.
    unread = FIRST if law.first is None else " "
    assert all(
        np.any(want[place]) for place in w if place != "ts" and unread not in place
    )
    assert np.any(want["ts"]) == (name == "timed")


SLOW = "driven", "lifted"


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize(
    "law",
    [pytest.param(law, marks=pytest.mark.slow if law in SLOW else ()) for law in LAWS],
)
def test_a_law_and_its_gradients_are_those_of_numpy(law, numbers, double):
    check(law, NUMBERS[numbers])


@pytest.mark.slow
@pytest.mark.parametrize("law", ("steps", "timed"))
def test_numbers_that_are_not_trained_give_the_same(law, double):
    check(law, NUMBERS["all"], float)


@pytest.mark.parametrize(
    "law", ("tokens", pytest.param("timed", marks=pytest.mark.slow))
)
def test_parts_have_the_law_of_the_whole_and_its_gradients(law, double):
    model = make_law(law, NUMBERS["all"])
    check_values_in_parts(model, make_swing())
    check_slopes_in_parts(model, sequence=make_swing())


@pytest.mark.parametrize(
    "law", ("tokens", pytest.param("steps", marks=pytest.mark.slow))
)
def test_padding_changes_no_law_and_no_gradient(law, double):
    check_padded(make_law(law, NUMBERS["all"]))
