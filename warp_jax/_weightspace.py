"""network <-> theta."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._types import Weights


class WeightSpace(eqx.Module):
    """The space of a network's weights: the only place that knows their order in theta.

    Keeps the shapes of a network, not its weights: as a field of a model it adds nothing
    that an optimiser would train.
    """

    frame: PyTree
    treedef: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(self, network: PyTree):
        """**Arguments:**

        - `network`: any PyTree with floating-point arrays, such as an Equinox module. Its
            other leaves are kept as they are.

        **Raises:** `ValueError` for a network without floating-point arrays, `TypeError`
        for one with complex arrays.
        """
        weights, self.frame = eqx.partition(network, eqx.is_inexact_array)
        leaves, self.treedef = jax.tree.flatten(weights)
        if not leaves:
            raise ValueError(
                f"`WeightSpace(network)` needs a network with floating-point arrays; "
                f"got {network!r:.200}."
            )
        if any(jnp.iscomplexobj(leaf) for leaf in leaves):
            raise TypeError(
                "`WeightSpace(network)` needs real weights; got complex ones: keep real "
                "and imaginary part as two arrays."
            )
        self.shapes = tuple(leaf.shape for leaf in leaves)
        self.size = sum(math.prod(shape) for shape in self.shapes)

    def flatten(self, network: PyTree) -> Weights:
        """Returns the weights of a network of this shape as one vector, `(state,)`.

        **Raises:** `ValueError` where the network has other shapes.
        """
        leaves, treedef = jax.tree.flatten(eqx.filter(network, eqx.is_inexact_array))
        shapes = tuple(leaf.shape for leaf in leaves)
        if (treedef, shapes) != (self.treedef, self.shapes):
            raise ValueError(
                f"`flatten(network)` needs a network with weights of shapes "
                f"{self.shapes}, built as the one given at construction; got {shapes}."
            )
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    def unflatten(self, theta: Weights) -> PyTree:
        """Returns the network whose weights are `theta`, of shape `(state,)`.

        **Raises:** `ValueError` where `theta` has another shape.
        """
        if theta.shape != (self.size,):
            raise ValueError(
                f"`unflatten(theta)` needs theta of shape ({self.size},); got "
                f"{theta.shape}."
            )
        return self.assemble(self.pieces(theta))

    def pieces(self, rows: Float[Array, "p *k"]) -> list[Float[Array, "..."]]:
        """Cuts an array with one row a weight into the shapes of the network's arrays,
        which any further axes follow.
        """
        sizes = [math.prod(shape) for shape in self.shapes]
        # Its gradient is one concatenation; that of slices, a sum of as many arrays.
        parts = jnp.split(rows, list(itertools.accumulate(sizes))[:-1])
        return [
            part.reshape(*shape, *rows.shape[1:])
            for part, shape in zip(parts, self.shapes)
        ]

    def assemble(self, leaves: Sequence[Any]) -> PyTree:
        """Returns the network with `leaves` in the places of its arrays."""
        return eqx.combine(jax.tree.unflatten(self.treedef, leaves), self.frame)
