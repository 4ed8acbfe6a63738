"""data -> batches, in an order that depends on nothing but the key and the step."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, PyTree

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
        batch.
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


@eqx.filter_jit
def _take(data: PyTree[Array], order: Array, place: Array, size: int) -> PyTree[Array]:
    chosen = jax.lax.dynamic_slice_in_dim(order, place * size, size)
    return jax.tree.map(lambda array: array[chosen], data)


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
