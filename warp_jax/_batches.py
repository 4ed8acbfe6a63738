"""data -> batches, in an order that depends on nothing but the key and the step."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Bool, Int, PyTree

from ._check import check_integer
from ._types import Key


Supply = Iterable[PyTree] | Callable[[int], PyTree]


class Batches:
    """An endless supply of random batches of a data set in memory.

    Each epoch shuffles anew and leaves out what does not fill a batch. Batch number i can
    be had directly, so a training that is resumed goes on where it stopped.
    """

    def __init__(self, data: PyTree[ArrayLike], size: int, *, key: Key):
        """**Arguments:**

        - `data`: arrays with one leading axis of examples.
        - `size`: examples of a batch, at most as many as there are.
        - `key`: for the order.

        **Raises:** `ValueError` for arrays of different lengths, or fewer examples than a
        batch; `TypeError` for a `size` that is no whole number.
        """
        call = "Batches(data, size)"
        data = jax.tree.map(jnp.asarray, data)
        shapes = [leaf.shape for leaf in jax.tree.leaves(data)]
        lengths = {shape[:1] for shape in shapes}
        if len(lengths) != 1 or () in lengths:
            raise ValueError(
                f"`{call}` needs arrays with one leading axis of examples; got shapes "
                f"{shapes}."
            )
        self.data = data
        self.size = check_integer(call, "size", size, 1)
        (self.examples,) = lengths.pop()
        if self.size > self.examples:
            raise ValueError(
                f"`{call}` needs `size` of at most the {self.examples} examples; got "
                f"size={size}."
            )
        self._key = key
        self._epoch = -1
        self._order = jnp.arange(self.examples)

    @property
    def per_epoch(self) -> int:
        """How many batches there are before the data is shuffled again."""
        return self.examples // self.size

    def __call__(self, step: int) -> PyTree[Array]:
        """Returns batch number `step`, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        if self._epoch != epoch:
            key = jr.fold_in(self._key, epoch)
            self._epoch, self._order = epoch, jr.permutation(key, self.examples)
        return _take(self.data, self._order, jnp.asarray(place), self.size)

    def __iter__(self) -> Iterator[PyTree[Array]]:
        step = 0
        while True:
            yield self(step)
            step += 1


class Window(NamedTuple):
    """A stretch of some streams, side by side.

    - `data`: as the streams, but with `length` steps.
    - `fresh`: whether the streams begin here, so that nothing is to be carried into it.
        Not an array: a `loss` is compiled for either case.
    """

    data: PyTree
    fresh: bool

    def take(self, carry: PyTree) -> PyTree:
        """Returns what was carried so far, or `None` where the streams begin."""
        return None if self.fresh else carry


class Windows:
    """An endless supply of consecutive windows of streams that are too long to be trained
    on whole: truncated back-propagation through time (Williams and Peng 1990).

    Batch number i is the i-th window of all streams side by side, and after the last one
    they begin again. What remains at the end and does not fill a window is left out. Given
    to `fit` with a `carry`, whose loss goes on from the state that the window before ended
    with:

        def loss(model, window, key, carry):
            xs, ts, ys = window.data
            run = lambda xs, ts, state: model.run(xs, ts, state=state)
            outputs, carry = jax.vmap(run)(xs, ts, window.take(carry))
            return wj.mse(outputs, ys), carry

        xs, ts, ys = streams
        carry = jax.vmap(model.init)(xs[:, 0], ts[:, 0])
        windows = wj.Windows((xs, ts, ys), 500)
        model, history = wj.fit(model, loss, windows, optimizer, carry=carry, ...)

    Each window is trained on by its full gradient; none flows across its border, and
    memory depends on its length alone.
    """

    def __init__(self, streams: PyTree, length: int):
        """**Arguments:**

        - `streams`: arrays with two leading axes, of streams and of time. Arrays of NumPy,
            memory-mapped ones too, stay where they are but for a window at a time.
        - `length`: steps of a window, at most those of a stream.

        **Raises:** `ValueError` for arrays of different numbers of streams or steps, or
        fewer steps than a window; `TypeError` for a `length` that is no whole number.
        """
        call = "Windows(streams, length)"
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(streams)]
        leading = {shape[:2] for shape in shapes}
        if len(leading) != 1 or len(next(iter(leading))) < 2:
            raise ValueError(
                f"`{call}` needs arrays with two leading axes, of streams and of time; "
                f"got shapes {shapes}."
            )
        ((_, steps),) = leading
        self.streams, self.length = streams, check_integer(call, "length", length, 1)
        if self.length > steps:
            raise ValueError(
                f"`{call}` needs `length` of at most the {steps} steps; got "
                f"length={length}."
            )
        self.per_epoch = steps // self.length

    def __call__(self, step: int) -> Window:
        """Returns batch number `step`, counted from 0."""
        place = step % self.per_epoch
        part = slice(place * self.length, (place + 1) * self.length)
        data = jax.tree.map(lambda array: jnp.asarray(array[:, part]), self.streams)
        return Window(data, place == 0)


@eqx.filter_jit
def _take(data: PyTree[Array], order: Array, place: Array, size: int) -> PyTree[Array]:
    chosen = jax.lax.dynamic_slice_in_dim(order, place * size, size)
    return jax.tree.map(lambda array: array[chosen], data)


class Bucket(NamedTuple):
    """Sequences of about one length, padded to the same.

    - `data`: arrays as in a sequence, with a leading axis of sequences: `(sequences,
        length, ...)`.
    - `mask`: False where there is padding, `(sequences, length)`.
    - `which`: which of the sequences they are, `(sequences,)`, in the order given.
    """

    data: PyTree[Array]
    mask: Bool[Array, "n t"]
    which: Int[Array, " n"]


def bucket(
    sequences: Sequence[PyTree[ArrayLike]], lengths: int | Sequence[int] = 4
) -> list[Bucket]:
    """Pads sequences of many lengths to a few lengths, so that compiled code is made for
    these alone.

    What is filled up are zeros, at the end. A batch is made within a bucket, as by
    `Batches(tuple(bucket), size, key=key)`, and its mask goes to the model and the loss.

    **Arguments:**

    - `sequences`: arrays with a leading axis of time, `(time, ...)`, or PyTrees of such,
        as `(xs, ts)`.
    - `lengths`: the lengths to pad to; or how many there are at most, by default 4: then
        those with which the least is filled up.

    **Returns:** a `Bucket` for each length that has sequences, the shortest first.

    **Raises:** `ValueError` for no sequence at all, for one that is empty or longer than
    all lengths, and for arrays of one sequence that differ in their length; `TypeError`
    for `lengths` that are no whole numbers.
    """
    call = "bucket(sequences, lengths)"
    if not len(sequences):
        raise ValueError(f"`{call}` needs a sequence; got none.")
    steps = [_length(call, i, sequence) for i, sequence in enumerate(sequences)]
    if isinstance(lengths, Sequence):
        chosen = sorted(check_integer(call, "lengths", one, 1) for one in lengths)
        if not chosen or max(steps) > chosen[-1]:
            raise ValueError(
                f"`{call}` got a sequence of {max(steps)} steps, longer than all lengths "
                f"in {list(lengths)}."
            )
    else:
        chosen = _least_padding(steps, check_integer(call, "lengths", lengths, 1))
    padded = [next(length for length in chosen if length >= n) for n in steps]
    buckets = []
    for length in sorted(set(padded)):
        index = [i for i, own in enumerate(padded) if own == length]
        members = [sequences[i] for i in index]
        data = jax.tree.map(lambda *arrays, n=length: _padded(arrays, n), *members)
        counts = jnp.asarray([steps[i] for i in index])
        mask = jnp.arange(length)[None] < counts[:, None]
        buckets.append(Bucket(data, mask, jnp.asarray(index)))
    return buckets


def _length(call: str, place: int, sequence: PyTree[ArrayLike]) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(sequence)]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise ValueError(
            f"`{call}` needs sequences with one leading axis of time, at least one step "
            f"long; got shapes {shapes} in sequence {place}."
        )
    return lengths.pop()[0]


def _least_padding(steps: list[int], count: int) -> list[int]:
    """Returns up to `count` lengths with which the fewest steps are filled up."""
    candidates = sorted(set(steps))
    # Of very many lengths some are left out, for the work grows with their square.
    thin = -(-len(candidates) // 256)
    candidates = candidates[::-1][::thin][::-1]
    below = [sum(n <= length for n in steps) for length in candidates]
    # The least cost, and the lengths, of all sequences up to each candidate.
    best = [(length * n, [length]) for length, n in zip(candidates, below, strict=True)]
    for _ in range(count - 1):
        best = [
            min(
                [best[j]]
                + [
                    (
                        best[i][0] + candidates[j] * (below[j] - below[i]),
                        [*best[i][1], candidates[j]],
                    )
                    for i in range(j)
                ]
            )
            for j in range(len(candidates))
        ]
    return best[-1][1]


def _padded(arrays: tuple[Any, ...], length: int) -> Array:
    """Returns arrays of up to `length` steps as one, `(arrays, length, ...)`."""
    shape, dtype = jnp.shape(arrays[0])[1:], jnp.result_type(*arrays)
    # Filled on the host: a device would compile something for every length.
    whole = jax.device_get(jnp.zeros((len(arrays), length, *shape), dtype)).copy()
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return jnp.asarray(whole)


def in_order(call: str, batches: Supply, start: int, steps: int) -> Iterator[PyTree]:
    """Yields the batches of the steps from `start` up to `steps`."""
    if callable(batches):
        yield from (batches(step) for step in range(start, steps))
        return
    count = itertools.count()
    while True:
        empty = True
        for batch in batches:
            empty = False
            if next(count) >= start:
                yield batch
        if empty or iter(batches) is batches:
            raise ValueError(
                f"`{call}` ran out of batches after {next(count)} of {steps} steps. Give "
                "a `Batches`, or an iterable that can be begun again."
            )
