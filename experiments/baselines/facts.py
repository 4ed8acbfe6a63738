"""Factored state-space cell, FACTS (Nanbo et al. 2024, arXiv 2410.20922), a small form."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .recurrent import AbstractScanned


class FACTS(AbstractScanned):
    r"""A memory of factors, each of which attends to the factors of the input and then
    evolves by itself, selectively:

    $Z_t = e^{\Delta_t a} \odot Z_{t-1} + \Delta_t \odot B_t \odot U_t$ with a learnt $Z_0$,
    a number $a < 0$, and $\Delta_t = \mathrm{softplus}(P D_t) + 10^{-4}$, $B_t = P E_t$,
    $U_t = P V_t$, where $P = \mathrm{softmax}(Q K_t^\top / \sqrt{s})$ routes factors.

    The queries $Q$ are of $Z_0$, the paper's linear form. The keys and values are of the
    normalised input factors, which are equal parts of the input; $D$ and $E$ are linear
    maps of them. One head, as many factors in as in memory, no selective output. In a
    `Gated` it has the paper's convolution over time and gate.
    """

    memory: Float[Array, "k s"]
    memory_norm: eqx.nn.LayerNorm
    input_norm: eqx.nn.LayerNorm
    query: eqx.nn.Linear
    project: eqx.nn.Linear
    log_decay: Float[Array, ""]
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, factors: int = 4, *, key: Any):
        """**Arguments:**

        - `input_size`: numbers in the input, and in the memory.
        - `factors`: divides `input_size`.

        **Raises:** `ValueError` where it does not.
        """
        if factors < 1 or input_size % factors:
            raise ValueError(
                "`FACTS(input_size, factors)` needs an input_size that its factors "
                f"divide; got input_size={input_size} and factors={factors}."
            )
        size = input_size // factors
        memory_key, query_key, project_key = jr.split(key, 3)
        self.memory = jr.normal(memory_key, (factors, size))
        self.memory_norm = eqx.nn.LayerNorm(size)
        self.input_norm = eqx.nn.LayerNorm(size)
        self.query = eqx.nn.Linear(size, size, use_bias=False, key=query_key)
        self.project = eqx.nn.Linear(size, 4 * size, use_bias=False, key=project_key)
        self.log_decay = jnp.zeros(())
        self.hidden_size = input_size

    def start(self) -> Float[Array, "k s"]:
        return self.memory

    def gain(self) -> Float[Array, ""]:
        return -jnp.exp(self.log_decay)

    def enter(self, x: Float[Array, " d"]) -> tuple[Array, Array]:
        rows = jax.vmap(self.input_norm)(x.reshape(self.memory.shape))
        keys, *routed = jnp.split(jax.vmap(self.project)(rows), 4, axis=1)
        queries = jax.vmap(self.query)(jax.vmap(self.memory_norm)(self.memory))
        scores = queries @ keys.T / math.sqrt(keys.shape[1])
        routes = jnn.softmax(scores, axis=1)
        values, steps, into = (routes @ rows for rows in routed)
        steps = jnn.softplus(steps) + 1e-4
        return steps, steps * into * values

    def advance(self, gain: Array, state: Array, entered: Any) -> Array:
        steps, added = entered
        return jnp.exp(gain * steps) * state + added

    def leave(self, state: Array, entered: Any) -> Float[Array, " h"]:
        return state.ravel()
