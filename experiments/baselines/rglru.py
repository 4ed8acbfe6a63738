"""Real-gated linear recurrent unit (De et al. 2024, Griffin, arXiv 2402.19427)."""

from typing import Any

import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .recurrent import AbstractScanned


# The paper's constant c.
SHARPNESS = 8.0


class RGLRU(AbstractScanned):
    r"""$h_t = a_t \odot h_{t-1} + \sqrt{1 - a_t^2} \odot (i_t \odot x_t)$

    with $\log a_t = -8\,\mathrm{softplus}(\Lambda) \odot r_t$, a gate of the recurrence
    $r_t = \sigma(W_r x_t + b_r)$ and one of the input $i_t = \sigma(W_i x_t + b_i)$.

    $\Lambda$ starts such that a fully open gate gives an $a_t$ uniform between `gain_min`
    and `gain_max`. As many numbers in the state as come in. In a `Gated` it is the
    recurrent block of Griffin, whose gates are block-diagonal where these are dense.
    """

    gates: eqx.nn.Linear
    raw_decay: Float[Array, " d"]
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        *,
        gain_min: float = 0.9,
        gain_max: float = 0.999,
        key: Any,
    ):
        gate_key, gain_key = jr.split(key)
        self.gates = eqx.nn.Linear(input_size, 2 * input_size, key=gate_key)
        gains = jr.uniform(gain_key, (input_size,), minval=gain_min, maxval=gain_max)
        self.raw_decay = jnp.log(jnp.expm1(-jnp.log(gains) / SHARPNESS))
        self.hidden_size = input_size

    def start(self) -> Float[Array, " h"]:
        return jnp.zeros(self.hidden_size)

    def gain(self) -> None:
        return None

    def enter(self, x: Float[Array, " d"]) -> tuple[Array, Array]:
        recur, let_in = jnp.split(jnn.sigmoid(self.gates(x)), 2)
        log_gain = -SHARPNESS * jnn.softplus(self.raw_decay) * recur
        # Of a gate that is all but shut the root would have no finite slope.
        room = jnp.maximum(-jnp.expm1(2 * log_gain), 1e-8)
        return jnp.exp(log_gain), jnp.sqrt(room) * let_in * x

    def advance(self, gain: None, state: Array, entered: Any) -> Array:
        kept, added = entered
        return kept * state + added

    def leave(self, state: Array, entered: Any) -> Float[Array, " h"]:
        return state
