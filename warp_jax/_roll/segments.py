"""steps -> segments of steps: how long sequences are kept out of memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


# Numbers of one sequence above which they are made again in the backward pass, not kept.
KEPT = 2**22
# Numbers that the readings of one sequence hold at a time.
AT_ONCE = 2**15
# Numbers that are not worth a turn of their own.
FEW = 2**12
# Readings of a batch at which a product with what they share no longer waits for memory,
# and numbers that they may hold for that.
ENOUGH, WORTH = 256, 2**22


def segment_for(length: int, numbers: int) -> int | None:
    """Returns how long segments should be where each step holds so many numbers, or
    `None` where all fit: about the square root of the length needs the least memory.
    """
    return math.ceil(math.sqrt(length)) if length * numbers > KEPT else None


def split(tree: PyTree[Array], segment: int, front: bool = False) -> PyTree[Array]:
    """Cuts the leading axis into segments, filled up with zeros at the end, or in front:
    an array of booleans with False.
    """

    def cut(array: Array) -> Array:
        missing = -len(array) % segment
        ends = (missing, 0) if front else (0, missing)
        padded = jnp.pad(array, [ends] + [(0, 0)] * (array.ndim - 1))
        return padded.reshape(-1, segment, *array.shape[1:])

    return jax.tree.map(cut, tree)


def join(tree: PyTree[Array], length: int, front: bool = False) -> PyTree[Array]:
    """Undoes `split`."""

    def merge(array: Array) -> Array:
        whole = array.reshape(-1, *array.shape[2:])
        return whole[len(whole) - length :] if front else whole[:length]

    return jax.tree.map(merge, tree)


def scan_in_segments(
    part: Callable[[Any, PyTree[Array]], tuple[Any, PyTree[Array]]],
    carry: Any,
    steps: PyTree[Array],
    segment: int | None,
) -> tuple[Any, PyTree[Array]]:
    """Returns `part(carry, steps)`, segment after segment, each one forgotten and made
    again in the backward pass; all at once where `segment` is `None`.

    What fills up the last segment are zeros, which `part` must let pass.
    """
    length = jax.tree.leaves(steps)[0].shape[0]
    if segment is None or segment >= length:
        return part(carry, steps)
    part = jax.checkpoint(part, prevent_cse=False)
    carry, outputs = lax.scan(part, carry, split(steps, segment))
    return carry, join(outputs, length)


def read_in_turns(
    read: Callable[[PyTree[Array]], PyTree[Array]],
    steps: PyTree[Array],
    footprint: int,
    sequences: int = 1,
    least: int = 1,
) -> PyTree[Array]:
    """Returns `jax.vmap(read)(steps)`, as few at a time as hold `AT_ONCE` numbers of each
    of so many sequences, where one reading holds `footprint`, but of several sequences
    `ENOUGH` that hold `WORTH`; in at least so many turns of `FEW` numbers or more.
    """
    length = jax.tree.leaves(steps)[0].shape[0]
    count = max(1, AT_ONCE // footprint) * sequences
    if sequences > 1:
        count = max(count, min(ENOUGH, WORTH // footprint))
    few = max(1, FEW // footprint) * sequences
    count = min(count, max(few, length // least))
    if count >= length:
        return jax.vmap(read)(steps)
    # Turns of equal length: to fill up the last one takes a copy of all, and idle readings.
    even = next(n for n in range(count, 0, -1) if length % n == 0)
    balanced = math.ceil(length / math.ceil(length / count))
    count = even if 2 * even > count else balanced

    def fill(array: Array) -> Array:
        last = jnp.broadcast_to(array[-1], (-length % count, *array.shape[1:]))
        return jnp.concatenate([array, last])

    if length % count:
        steps = jax.tree.map(fill, steps)
    turns = split(steps, count)
    return join(lax.map(jax.vmap(read), turns), length)
