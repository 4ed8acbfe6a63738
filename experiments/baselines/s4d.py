"""Diagonal structured state-space cell, S4D (Gu et al. 2022, arXiv 2206.11893)."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float

from .recurrent import AbstractScanned


class S4D(AbstractScanned):
    r"""For each input channel a system of its own, $h' = \Lambda h + x$ with $\Lambda$
    complex and diagonal, held constant over a step of length $\Delta$, one a channel:

    $h_t = \bar\Lambda h_{t-1} + \Lambda^{-1} (\bar\Lambda - 1) x_t$ with $\bar\Lambda =
    e^{\Lambda \Delta}$, read as $y_t = 2\,\mathrm{Re} \sum_n C_n h_{t,n}$.

    $\Lambda$ starts as S4D-Lin, $\Lambda_n = -1/2 + i \pi n$. What is read is $y$, as many
    channels as come in; the block that reads it has D and mixes the channels.
    """

    log_decay: Float[Array, "d m"]
    frequency: Float[Array, "d m"]
    log_step: Float[Array, " d"]
    C_real: Float[Array, "d m"]
    C_imag: Float[Array, "d m"]
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

        - `modes`: complex, of each channel.
        - `min_step`, `max_step`: bounds of $\\Delta$ at the start.
        """
        step_key, real_key, imag_key = jr.split(key, 3)
        shape = input_size, modes
        self.log_decay = jnp.full(shape, math.log(0.5))
        turns = math.pi * jnp.arange(modes, dtype=float)
        self.frequency = jnp.broadcast_to(turns, shape)
        low, high = math.log(min_step), math.log(max_step)
        self.log_step = jr.uniform(step_key, (input_size,), minval=low, maxval=high)
        self.C_real = jr.normal(real_key, shape) * 0.5**0.5
        self.C_imag = jr.normal(imag_key, shape) * 0.5**0.5
        self.hidden_size = input_size

    def eigenvalues(self) -> Complex[Array, "d m"]:
        """Returns those in continuous time, with negative real parts."""
        return -jnp.exp(self.log_decay) + 1j * self.frequency

    def start(self) -> Complex[Array, "d m"]:
        return jnp.zeros_like(self.eigenvalues())

    def gain(self) -> tuple[Complex[Array, "d m"], Complex[Array, "d m"]]:
        eigenvalues = self.eigenvalues()
        gain = jnp.exp(eigenvalues * jnp.exp(self.log_step)[:, None])
        return gain, (gain - 1) / eigenvalues

    def enter(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x

    def advance(self, gain: Any, state: Array, entered: Array) -> Array:
        kept, added = gain
        return kept * state + added * entered[:, None]

    def leave(self, state: Array, entered: Array) -> Float[Array, " h"]:
        real = self.C_real * state.real - self.C_imag * state.imag
        return 2 * jnp.sum(real, axis=1)
