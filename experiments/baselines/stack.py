"""The block that all cells share, so that the cell is what differs."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PyTree

from .recurrent import AbstractCell, held


class Block(eqx.Module):
    r"""What S5 and LinOSS have around their recurrences: of features $u$, normalised to
    $v$, and the hidden vector $h$ that the cell makes of $v$,

    $u + W_1 z \odot \sigma(W_2 z)$ with $z = \mathrm{GELU}(C h + D \odot v)$.

    The norm is over the features of a step, where theirs is over the batch: it sees no
    other sequence and no later step.
    """

    norm: eqx.nn.LayerNorm
    cell: AbstractCell
    C: eqx.nn.Linear
    D: Float[Array, " f"]
    mix: eqx.nn.Linear

    def __init__(self, size: int, cell: AbstractCell, *, key: Any):
        C_key, D_key, mix_key = jr.split(key, 3)
        self.norm = eqx.nn.LayerNorm(size)
        self.cell = cell
        self.C = eqx.nn.Linear(cell.hidden_size, size, use_bias=False, key=C_key)
        self.D = jr.normal(D_key, (size,))
        self.mix = eqx.nn.Linear(size, 2 * size, key=mix_key)

    def merge(
        self,
        features: Float[Array, " f"],
        normed: Float[Array, " f"],
        hidden: Float[Array, " h"],
    ) -> Float[Array, " f"]:
        """Returns the features of a step after this block."""
        mixed = self.mix(jnn.gelu(self.C(hidden) + self.D * normed))
        value, gate = jnp.split(mixed, 2)
        return features + value * jnn.sigmoid(gate)


class Stack(AbstractCell):
    """Blocks one above the other, after a linear encoder; itself a cell, whose hidden
    vector is the features after the last block.
    """

    encode: eqx.nn.Linear
    blocks: tuple[Block, ...]
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        make: Callable[[int, Any], AbstractCell],
        *,
        layers: int = 2,
        key: Any,
    ):
        """**Arguments:**

        - `hidden_size`: features of a step.
        - `make`: `features, key -> cell`, of any hidden size.
        """
        first, *keys = jr.split(key, 1 + 2 * layers)
        self.encode = eqx.nn.Linear(input_size, hidden_size, key=first)
        self.blocks = tuple(
            Block(hidden_size, make(hidden_size, cell_key), key=block_key)
            for cell_key, block_key in zip(keys[::2], keys[1::2])
        )
        self.hidden_size = hidden_size

    def init(self) -> PyTree[Array]:
        cells = tuple(block.cell.init() for block in self.blocks)
        return cells, jnp.zeros(self.hidden_size)

    def __call__(self, carry: PyTree[Array], x: Float[Array, " d"]) -> PyTree[Array]:
        features, after = self.encode(x), []
        for block, inner in zip(self.blocks, carry[0]):
            normed = block.norm(features)
            inner = block.cell(inner, normed)
            features = block.merge(features, normed, block.cell.hidden(inner))
            after.append(inner)
        return tuple(after), features

    def hidden(self, carry: PyTree[Array]) -> Float[Array, " f"]:
        return carry[1]

    def roll(self, carry, xs, mask):
        """Takes every block over all steps at once; a cell alone may go step by step."""
        cells, before = self.init() if carry is None else carry
        features, after = jax.vmap(self.encode)(xs), []
        for block, inner in zip(self.blocks, cells):
            normed = jax.vmap(block.norm)(features)
            hidden, inner = block.cell.roll(inner, normed, mask)
            features = jax.vmap(block.merge)(features, normed, hidden)
            after.append(inner)
        features = held(features, before, mask)
        return features, (tuple(after), features[-1])
