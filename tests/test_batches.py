"""Data to batches."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_same


DATA = {"x": jnp.arange(10), "y": 10.0 * np.arange(10)[:, None]}


def epoch(batches, number):
    steps = range(number * batches.per_epoch, (number + 1) * batches.per_epoch)
    return [batches(step) for step in steps]


def test_an_epoch_visits_every_example_once(getkey):
    batches = wj.Batches(DATA, 5, key=getkey())
    for number in range(3):
        parts = epoch(batches, number)
        seen = np.concatenate([part["x"] for part in parts])
        assert sorted(seen) == list(range(10))
        # The arrays stay together.
        for part in parts:
            assert np.array_equal(part["y"][:, 0], 10 * part["x"])


def test_every_epoch_has_its_own_order(getkey):
    batches = wj.Batches(DATA, 10, key=getkey())
    orders = {tuple(batches(step)["x"].tolist()) for step in range(5)}
    assert len(orders) == 5


def test_what_fills_no_batch_is_left_out(getkey):
    batches = wj.Batches(DATA, 4, key=getkey())
    assert batches.per_epoch == 2
    assert len({int(x) for part in epoch(batches, 0) for x in part["x"]}) == 8


def test_a_batch_depends_on_the_key_and_the_step_alone(getkey):
    key = getkey()
    batches = wj.Batches(DATA, 3, key=key)
    in_order = [batches(step) for step in range(8)]
    again = wj.Batches(DATA, 3, key=key)
    for step in (5, 0, 7, 3, 3):
        assert_same(again(step), in_order[step])
    other = wj.Batches(DATA, 3, key=getkey())
    assert any(
        not np.array_equal(other(step)["x"], in_order[step]["x"]) for step in range(3)
    )


def test_iterating_gives_the_same_batches_without_end(getkey):
    batches = wj.Batches(DATA, 4, key=getkey())
    for step, batch in enumerate(itertools.islice(batches, 7)):
        assert_same(batch, batches(step))


@pytest.mark.parametrize(
    "data, size, fragment",
    (
        ((jnp.ones(3), jnp.ones(4)), 2, r"\(3,\), \(4,\)"),
        ({}, 2, "leading axis"),
        (jnp.ones(()), 2, "leading axis"),
        (jnp.ones(3), 4, "at most the 3 examples; got size=4"),
        (jnp.ones(3), 0, "size >= 1"),
    ),
)
def test_data_that_makes_no_batch_is_refused(data, size, fragment, getkey):
    with pytest.raises(ValueError, match=rf"`Batches\(data, size\)`.*{fragment}"):
        wj.Batches(data, size, key=getkey())
