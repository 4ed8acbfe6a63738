"""Linear oscillatory state-space cell (Rusch & Rus 2024, arXiv 2410.03943)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from .recurrent import AbstractScanned, paired


# Stiffness and step size of each oscillator -> what a step divides the velocities by.
Scheme = Callable[[Float[Array, " m"], Float[Array, " m"]], Float[Array, " m"]]
State = tuple[Float[Array, " m"], Float[Array, " m"]]


def implicit(
    stiffness: Float[Array, " m"], step: Float[Array, " m"]
) -> Float[Array, " m"]:
    """LinOSS-IM: for any stiffness stable, and a little damped."""
    return 1 + step**2 * stiffness


def implicit_explicit(
    stiffness: Float[Array, " m"], step: Float[Array, " m"]
) -> Float[Array, " m"]:
    """LinOSS-IMEX: keeps the energy of an oscillator, and so all that it was driven by.
    Stable while `step**2 * stiffness <= 4`.
    """
    return jnp.ones_like(stiffness)


class LinOSS(AbstractScanned):
    r"""Forced oscillators, $y'' = -A y + B x$ with a diagonal $A \ge 0$, each discretised
    with a step size of its own: with the velocity $z$ and a scheme's divisor $S$

    $z_t = (z_{t-1} + \Delta (B x_t - A y_{t-1})) / S$ and $y_t = y_{t-1} + \Delta z_t$.

    The hidden vector holds the velocities and then the places.
    """

    raw_stiffness: Float[Array, " m"]
    raw_step: Float[Array, " m"]
    B: Float[Array, "m d"]
    scheme: Scheme = eqx.field(static=True)
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        oscillators: int,
        *,
        scheme: Scheme = implicit,
        key: Any,
    ):
        """**Arguments:**

        - `oscillators`: two numbers of the state each.
        - `scheme`: `implicit` or `implicit_explicit`.
        """
        stiffness_key, step_key, B_key = jr.split(key, 3)
        self.raw_stiffness = jr.uniform(stiffness_key, (oscillators,))
        self.raw_step = jr.uniform(step_key, (oscillators,))
        scale = input_size**-0.5
        self.B = scale * jr.normal(B_key, (oscillators, input_size))
        self.scheme = scheme
        self.hidden_size = 2 * oscillators

    def mode_of(self):
        return paired(self.hidden_size // 2)

    def start(self) -> State:
        return jnp.zeros_like(self.raw_step), jnp.zeros_like(self.raw_step)

    def gain(self) -> tuple[Array, Array, Array]:
        stiffness, step = jnn.relu(self.raw_stiffness), jnn.sigmoid(self.raw_step)
        return stiffness, step, self.scheme(stiffness, step)

    def enter(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        return self.B @ x

    def advance(self, gain: Any, state: State, entered: Float[Array, " m"]) -> State:
        (stiffness, step, divisor), (z, y) = gain, state
        z = (z + step * (entered - stiffness * y)) / divisor
        return z, y + step * z

    def leave(self, state: State, entered: Float[Array, " m"]) -> Float[Array, " h"]:
        return jnp.concatenate(state)
