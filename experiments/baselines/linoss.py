"""Linear oscillatory state-space cell (Rusch & Rus 2024, arXiv 2410.03943)."""

from typing import Any

import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .recurrent import AbstractCell


class LinOSS(AbstractCell):
    r"""Forced oscillators, $y'' = -A y + B x$ with a diagonal $A \ge 0$, each discretised
    with a step size of its own, implicitly (LinOSS-IM): with the velocity $z$ and
    $S = (1 + \Delta^2 A)^{-1}$

    $z_t = S (z_{t-1} + \Delta (B x_t - A y_{t-1}))$ and $y_t = y_{t-1} + \Delta z_t$.

    Implicit, so it is stable whatever the parameters are, and a little damped. The hidden
    vector holds the velocities and then the places.
    """

    raw_stiffness: Float[Array, " m"]
    raw_step: Float[Array, " m"]
    B: Float[Array, "m d"]
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, oscillators: int, *, key: Any):
        stiffness_key, step_key, B_key = jr.split(key, 3)
        self.raw_stiffness = jr.uniform(stiffness_key, (oscillators,))
        self.raw_step = jr.uniform(step_key, (oscillators,))
        scale = input_size**-0.5
        self.B = scale * jr.normal(B_key, (oscillators, input_size))
        self.hidden_size = 2 * oscillators

    def init(self) -> Float[Array, " h"]:
        return jnp.zeros(self.hidden_size)

    def __call__(
        self, hidden: Float[Array, " h"], x: Float[Array, " d"]
    ) -> Float[Array, " h"]:
        stiffness, step = jnn.relu(self.raw_stiffness), jnn.sigmoid(self.raw_step)
        z, y = jnp.split(hidden, 2)
        z = (z + step * (self.B @ x - stiffness * y)) / (1 + step**2 * stiffness)
        return jnp.concatenate([z, y + step * z])
