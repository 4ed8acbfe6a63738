"""Sequences of many lengths, padded to a few."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import (
    assert_close,
    assert_refused,
    make_model,
    make_sequence,
    named_arrays,
)
from .oracle import Choices


LENGTHS = [3, 9, 4, 4, 20, 1, 18, 3]


def ragged(lengths=LENGTHS):
    return [make_sequence(length, seed) for seed, length in enumerate(lengths)]


def wasted(buckets):
    return sum(int(np.sum(~bucket.mask)) for bucket in buckets)


@pytest.mark.parametrize("lengths", (1, 3, 99, [4, 20, 30]))
def test_buckets_hold_every_sequence_once(lengths):
    sequences = ragged()
    buckets = wj.bucket(sequences, lengths)
    found = []
    for bucket in buckets:
        assert len(bucket.mask) == len(bucket.which) > 0
        for i, mask, xs, ts in zip(bucket.which, bucket.mask, *bucket.data):
            found.append(int(i))
            np.testing.assert_array_equal(mask, np.arange(len(mask)) < LENGTHS[i])
            for padded, array in zip((xs, ts), sequences[int(i)]):
                np.testing.assert_array_equal(padded[: LENGTHS[i]], array)
                assert not np.any(padded[LENGTHS[i] :])
                assert padded.dtype == array.dtype
    assert sorted(found) == list(range(len(LENGTHS)))
    sizes = [bucket.mask.shape[1] for bucket in buckets]
    assert sizes == sorted(set(sizes))
    if isinstance(lengths, int):
        assert len(sizes) <= lengths and sizes[-1] == 20
        assert (lengths != 99) or wasted(buckets) == 0
    else:
        assert sizes == [4, 20]


@pytest.mark.parametrize("count", (2, 3))
def test_no_other_lengths_fill_up_less(count):
    noise = np.random.default_rng(count)
    for _ in range(2):
        own = [int(n) for n in noise.integers(1, 12, 15)]
        sequences = [np.ones(n, np.float32) for n in own]
        choices = itertools.combinations(sorted(set(own)), count - 1)
        least = min(
            sum(min(c for c in (*chosen, max(own)) if c >= n) - n for n in own)
            for chosen in choices
        )
        assert wasted(wj.bucket(sequences, count)) == least


def test_very_many_lengths_are_enough_for_few():
    sequences = [np.zeros((n, 0), np.float32) for n in range(1, 700)]
    buckets = wj.bucket(sequences, 2)
    assert [len(bucket.which) for bucket in buckets] == pytest.approx([350, 349], abs=3)


def test_compiled_code_is_bounded_and_gives_the_sequences_outputs(double):
    choices, traces = Choices("low_rank"), []
    model = make_model(choices)
    w = named_arrays(model)

    @eqx.filter_jit
    def run(model, xs, ts, mask):
        traces.append(mask.shape)
        return jax.vmap(lambda xs, ts, mask: model.last(xs, ts, mask=mask))(
            xs, ts, mask
        )

    sequences, buckets = ragged(), wj.bucket(ragged(), 2)
    for bucket in buckets:
        outputs = run(model, bucket.data[0], bucket.data[1], bucket.mask)
        for i, output in zip(bucket.which, outputs):
            xs, ts = map(np.asarray, sequences[int(i)])
            assert_close(output, oracle.run(choices, w, xs, ts)[1][-1])
    assert len(traces) == len(buckets) == 2
    # A batch has data, mask and numbers of the same sequences.
    (_, mask, which) = wj.Batches(tuple(buckets[0]), 2, key=jr.key(0))(0)
    np.testing.assert_array_equal(mask.sum(1), np.array(LENGTHS)[which])


CALL = "bucket(sequences, lengths)"
REFUSED = [
    (CALL, "got none", lambda m: wj.bucket([])),
    (
        CALL,
        "20 steps, longer than all lengths in [4, 8]",
        lambda m: wj.bucket(ragged(), [4, 8]),
    ),
    (CALL, "lengths=0", lambda m: wj.bucket(ragged(), 0)),
    (
        CALL,
        "(3,), (4,)] in sequence 0",
        lambda m: wj.bucket([(jnp.ones(3), jnp.ones(4))]),
    ),
    (
        CALL,
        "(0, 2)] in sequence 1",
        lambda m: wj.bucket([jnp.ones((1, 2)), jnp.ones((0, 2))]),
    ),
    (CALL, "[()] in sequence 0", lambda m: wj.bucket([1.0])),
]


@pytest.mark.parametrize("call, fragment, act", REFUSED)
def test_other_sequences_are_refused(call, fragment, act, unchecked):
    assert_refused(act, ValueError, call, fragment)
