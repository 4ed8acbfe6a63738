"""Selective state-space cell, S6 (Gu & Dao 2023, arXiv 2312.00752): Mamba's recurrence."""

import math
from typing import Any

import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .recurrent import AbstractScanned


class S6(AbstractScanned):
    r"""For each input channel a real diagonal system whose step size, input and output
    matrix depend on all channels of the latest input:

    $h_t = e^{\Delta_t A} \odot h_{t-1} + \Delta_t x_t B_t^\top$ and
    $y_t = h_t C_t + D \odot x_t$,

    with $\Delta_t = \mathrm{softplus}(W_2 W_1 x_t + b)$, `(input,)`, of low rank, and
    $B_t = W_B x_t$, $C_t = W_C x_t$, `(modes,)`. A starts at minus 1, 2, ... `modes`
    (S4D-Real), D at one. What is read is $y$. In a `Gated` it is Mamba.
    """

    select: eqx.nn.Linear
    widen: eqx.nn.Linear
    log_decay: Float[Array, "d m"]
    D: Float[Array, " d"]
    rank: int = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        modes: int = 8,
        *,
        min_step: float = 1e-3,
        max_step: float = 1e-1,
        key: Any,
    ):
        """**Arguments:**

        - `modes`: of each channel.
        - `min_step`, `max_step`: bounds of $\\Delta$ at the start, for an input of zero.
        """
        select_key, widen_key, step_key = jr.split(key, 3)
        self.rank = -(-input_size // 16)
        self.select = eqx.nn.Linear(
            input_size, self.rank + 2 * modes, use_bias=False, key=select_key
        )
        low, high = math.log(min_step), math.log(max_step)
        steps = jnp.exp(jr.uniform(step_key, (input_size,), minval=low, maxval=high))
        widen = eqx.nn.Linear(self.rank, input_size, key=widen_key)
        # Such that softplus gives the steps.
        bias = jnp.log(jnp.expm1(steps))
        self.widen = eqx.tree_at(lambda linear: linear.bias, widen, bias)
        self.log_decay = jnp.broadcast_to(
            jnp.log(jnp.arange(1.0, modes + 1)), (input_size, modes)
        )
        self.D = jnp.ones(input_size)
        self.hidden_size = input_size

    def start(self) -> Float[Array, "d m"]:
        return jnp.zeros_like(self.log_decay)

    def gain(self) -> Float[Array, "d m"]:
        return -jnp.exp(self.log_decay)

    def enter(self, x: Float[Array, " d"]) -> tuple[Array, Array, Array, Array]:
        modes = self.log_decay.shape[1]
        low, B, C = jnp.split(self.select(x), [self.rank, self.rank + modes])
        return x, jnn.softplus(self.widen(low)), B, C

    def advance(self, gain: Array, state: Array, entered: Any) -> Array:
        x, step, B, _ = entered
        return jnp.exp(step[:, None] * gain) * state + jnp.outer(step * x, B)

    def leave(self, state: Array, entered: Any) -> Float[Array, " h"]:
        x, _, _, C = entered
        return state @ C + self.D * x
