"""function, model, examples -> what it gives for each, in training and in evaluation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._run import batched


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
