"""Linear recurrent unit (Orvieto et al. 2023, arXiv 2303.06349)."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float

from .recurrent import AbstractScanned, paired


class LRU(AbstractScanned):
    r"""$h_t = \lambda \odot h_{t-1} + \gamma \odot (B x_t)$, complex, with
    $|\lambda| = \exp(-\exp \nu)$ and $\gamma = \sqrt{1 - |\lambda|^2}$.

    The eigenvalues start uniformly on the ring between `radius_min` and `radius_max`. The
    hidden vector holds the real parts and then the imaginary parts.
    """

    log_decay: Float[Array, " m"]
    log_phase: Float[Array, " m"]
    B_real: Float[Array, "m d"]
    B_imag: Float[Array, "m d"]
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        modes: int,
        *,
        radius_min: float = 0.9,
        radius_max: float = 0.999,
        max_phase: float = 2 * math.pi,
        key: Any,
    ):
        radius_key, phase_key, real_key, imag_key = jr.split(key, 4)
        squares = jr.uniform(
            radius_key, (modes,), minval=radius_min**2, maxval=radius_max**2
        )
        self.log_decay = jnp.log(-0.5 * jnp.log(squares))
        phases = jr.uniform(phase_key, (modes,), minval=1e-3, maxval=max_phase)
        self.log_phase = jnp.log(phases)
        scale = (2 * input_size) ** -0.5
        self.B_real = scale * jr.normal(real_key, (modes, input_size))
        self.B_imag = scale * jr.normal(imag_key, (modes, input_size))
        self.hidden_size = 2 * modes

    def eigenvalues(self) -> Complex[Array, " m"]:
        """Returns the eigenvalues of the recurrence, all within the unit circle."""
        return jnp.exp(-jnp.exp(self.log_decay) + 1j * jnp.exp(self.log_phase))

    def mode_of(self):
        return paired(self.hidden_size // 2)

    def start(self) -> Complex[Array, " m"]:
        return jnp.zeros_like(self.eigenvalues())

    def gain(self) -> Complex[Array, " m"]:
        return self.eigenvalues()

    def enter(self, x: Float[Array, " d"]) -> Complex[Array, " m"]:
        radius = jnp.exp(-jnp.exp(self.log_decay))
        driven = self.B_real @ x + 1j * (self.B_imag @ x)
        return jnp.sqrt(1 - radius**2) * driven

    def advance(self, gain: Array, state: Array, entered: Array) -> Array:
        return gain * state + entered

    def leave(self, state: Array, entered: Array) -> Float[Array, " h"]:
        return jnp.concatenate([state.real, state.imag])
