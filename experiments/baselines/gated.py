"""A short convolution before a cell and a gate after it: what Mamba (Gu & Dao 2023, arXiv
2312.00752) and Griffin (De et al. 2024, arXiv 2402.19427) put around their recurrences.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PyTree

from .recurrent import AbstractCell, held


Activation = Callable[[Array], Array]
# The latest inputs of the convolution, the cell's carry, and what was read last.
Carry = tuple[Float[Array, "w c"], PyTree[Array], Float[Array, " h"]]


class Gated(AbstractCell):
    r"""$h_t \odot g(W_g x_t)$, where a cell with the hidden vector $h$ sees
    $u_t = f(b + \sum_k w_{K-1-k} \odot W_u x_{t-k})$, $0 \le k < K$, channel by channel.

    The block that reads it has the linear map back. Steps that a mask leaves out are none
    of the convolution's either.
    """

    cell: AbstractCell
    branches: eqx.nn.Linear
    kernel: Float[Array, "k c"]
    bias: Float[Array, " c"]
    before: Activation = eqx.field(static=True)
    gate: Activation = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        cell: AbstractCell,
        *,
        width: int = 4,
        before: Activation = jnn.silu,
        gate: Activation = jnn.silu,
        key: Any,
    ):
        """**Arguments:**

        - `cell`: its `hidden_size` is as large as its input.
        - `width`: steps that the convolution sees, the latest included, at least 2.
        - `before`, `gate`: the functions f and g; Griffin's are the identity and GELU.
        """
        size = cell.hidden_size
        branch_key, kernel_key = jr.split(key)
        self.cell = cell
        self.branches = eqx.nn.Linear(
            input_size, 2 * size, use_bias=False, key=branch_key
        )
        bound = width**-0.5
        self.kernel = jr.uniform(kernel_key, (width, size), minval=-bound, maxval=bound)
        self.bias = jnp.zeros(size)
        self.before, self.gate = before, gate
        self.hidden_size = size

    def init(self) -> Carry:
        window = jnp.zeros((len(self.kernel) - 1, self.hidden_size))
        return window, self.cell.init(), jnp.zeros(self.hidden_size)

    def __call__(self, carry: Carry, x: Float[Array, " d"]) -> Carry:
        window, inner, _ = carry
        u, gate = jnp.split(self.branches(x), 2)
        window = jnp.concatenate([window, u[None]])
        inner = self.cell(inner, self._convolved(window)[0])
        return window[1:], inner, self.cell.hidden(inner) * self.gate(gate)

    def mode_of(self):
        return self.cell.mode_of()

    def hidden(self, carry: Carry) -> Float[Array, " h"]:
        return carry[2]

    def roll(self, carry, xs, mask):
        window, inner, before = self.init() if carry is None else carry
        us, gates = jnp.split(jax.vmap(self.branches)(xs), 2, axis=1)
        # Valid steps come first, so that each is next to the one before it.
        order, place = jnp.argsort(~mask, stable=True), jnp.cumsum(mask) - 1
        us = jnp.concatenate([window, us[order]])
        hidden, inner = self.cell.roll(inner, self._convolved(us), mask[order])
        read = hidden[jnp.maximum(place, 0)] * self.gate(gates)
        read = held(read, before, mask)
        latest = jnp.sum(mask) + jnp.arange(len(window))
        return read, (us[latest], inner, read[-1])

    def _convolved(self, us: Float[Array, "s c"]) -> Float[Array, "t c"]:
        """Returns what the cell sees, from the step on that has a full window."""
        count = len(us) - len(self.kernel) + 1
        taps = [us[k : k + count] * w[None] for k, w in enumerate(self.kernel)]
        return self.before(sum(taps) + self.bias[None])
