"""Long short-term memory (Hochreiter & Schmidhuber 1997, Neural Computation 9)."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .recurrent import AbstractCell


Carry = tuple[Float[Array, " h"], Float[Array, " h"]]


class LSTM(AbstractCell):
    r"""Equinox's LSTM cell, from zeros, with a gate to forget (Gers et al. 2000):

    $c_t = f \odot c_{t-1} + i \odot g$ and $h_t = o \odot \tanh c_t$, with $i, f, o$
    sigmoids and $g$ a tanh of $W x_t + U h_{t-1} + b$. What is read is $h_t$.
    """

    cell: eqx.nn.LSTMCell
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, key: Any):
        self.cell = eqx.nn.LSTMCell(input_size, hidden_size, key=key)
        self.hidden_size = hidden_size

    def init(self) -> Carry:
        return jnp.zeros(self.hidden_size), jnp.zeros(self.hidden_size)

    def __call__(self, carry: Carry, x: Float[Array, " d"]) -> Carry:
        return self.cell(x, carry)

    def hidden(self, carry: Carry) -> Float[Array, " h"]:
        return carry[0]
