"""Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078)."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .recurrent import AbstractCell


class GRU(AbstractCell):
    """Equinox's GRU cell, from a hidden vector of zeros."""

    cell: eqx.nn.GRUCell
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, key: Any):
        self.cell = eqx.nn.GRUCell(input_size, hidden_size, key=key)
        self.hidden_size = hidden_size

    def init(self) -> Float[Array, " h"]:
        return jnp.zeros(self.hidden_size)

    def __call__(
        self, hidden: Float[Array, " h"], x: Float[Array, " d"]
    ) -> Float[Array, " h"]:
        return self.cell(x, hidden)
