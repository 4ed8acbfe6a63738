"""model, dtype -> the model in that precision, and the one precision of a computation.

Numbers may be stored in half precision; nothing is computed in it. What comes in half
precision is widened to single precision, or, of a model, to that of the observations.
Nothing else is ever converted: two precisions of 32 bits or more are an error.
"""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


Tree = TypeVar("Tree", bound=PyTree)


def cast(model: Tree, dtype) -> Tree:
    """Returns a model, or any PyTree, with its real floating-point arrays in a precision.

    In half precision, as `jnp.bfloat16`, a model takes half the memory and still computes
    in single precision: its numbers are widened where they are used, and the state, its
    increments and the times are never rounded to less. For training keep the model itself
    in single precision and cast within the loss, so that small updates are not lost
    (Micikevicius et al. 2018, arXiv 1710.03740):

        loss = lambda model, batch, key: full(wj.cast(model, jnp.bfloat16), batch, key)

    **Arguments:**

    - `model`: as a `WARP`, a batch of observations, or a `State`.
    - `dtype`: a floating-point dtype; `jnp.float64` needs `jax_enable_x64`.

    **Raises:** `TypeError` for a dtype that is not real and floating-point, or that JAX
    would replace by another.
    """
    wanted = jnp.dtype(dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise TypeError(
            f"`cast(model, dtype)` needs a real floating-point dtype; got {wanted}."
        )
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise TypeError(
            f"`cast(model, dtype)` needs `jax.config.update('jax_enable_x64', True)` for "
            f"{wanted}."
        )
    return _changed(model, lambda array: True, wanted)


def widened(tree: Tree, dtype=jnp.float32) -> Tree:
    """Returns a tree with its arrays of half precision in `dtype`."""
    return _changed(tree, lambda array: jnp.finfo(array.dtype).bits < 32, dtype)


def matched(call: str, model: Tree, name: str, like: Array) -> Tree:
    """Returns a model widened to the precision of `like`, or raises where another of its
    arrays has a different one.

    - `name`: what `like` is, for the error.
    """
    model = widened(model, like.dtype)
    for array in filter(_is_real, jax.tree.leaves(model)):
        if array.dtype != like.dtype:
            raise TypeError(
                f"`{call}` mixes precisions: a model with numbers of {array.dtype} and "
                f"{name} of {like.dtype}. Cast one of them: `cast(model, "
                f"{name}.dtype)`, or `{name}.astype(...)`."
            )
    return model


def _is_real(leaf) -> bool:
    return eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _changed(tree: Tree, which, dtype) -> Tree:
    def change(leaf):
        return leaf.astype(dtype) if _is_real(leaf) and which(leaf) else leaf

    return jax.tree.map(change, tree)
