"""function, model, examples -> what it gives for each, in training and in evaluation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree


def each(function: Callable, model: Any, key: Any, *arrays: Array) -> PyTree[Array]:
    """Calls `function(model, *arrays, key)` of each example, with a key of its own."""
    keys = jax.random.split(key, len(arrays[0]))
    return jax.vmap(lambda arrays, key: function(model, *arrays, key))(arrays, keys)


@eqx.filter_jit
def _call(function, model, arrays):
    return jax.vmap(lambda arrays: function(model, *arrays))(arrays)


def mapped(function: Callable, model: Any, *arrays: PyTree) -> Any:
    """Calls `function(model, *arrays)` of each example, compiled, batch by batch."""

    def piece(*arrays):
        return _call(function, model, jax.tree.map(jnp.asarray, arrays))

    return batched(piece, *arrays)


def batched(function: Callable, *arrays: np.ndarray | None, size: int = 256):
    """Returns `function(*arrays)` computed in pieces of at most `size` examples, about
    equal, for each shape is compiled anew; an array may be `None`.
    """
    count = len(jax.tree.leaves(arrays)[0])
    size = -(-count // max(1, -(-count // size)))
    parts = [
        [None if array is None else array[i : i + size] for array in arrays]
        for i in range(0, count, size)
    ]
    # One piece at a time: of many that wait at once XLA may finish none on few cores.
    pieces = [jax.device_get(function(*part)) for part in parts]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
