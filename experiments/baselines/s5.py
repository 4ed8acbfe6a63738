"""Simplified state-space cell, S5 (Smith et al. 2022, arXiv 2208.04933)."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Complex, Float

from .recurrent import AbstractScanned, paired


class S5(AbstractScanned):
    r"""$h' = \Lambda h + B x$ with a complex diagonal $\Lambda$ that all inputs share, held
    constant over a step of length $\Delta$, one for each mode:

    $h_t = \bar\Lambda h_{t-1} + \Lambda^{-1} (\bar\Lambda - 1) B x_t$ with $\bar\Lambda =
    e^{\Lambda \Delta}$.

    The modes start as one of each pair of conjugate eigenvalues of the normal part of
    HiPPO-LegS (HiPPO-N), and $\Delta$ between `min_step` and `max_step`. The hidden vector
    holds the real parts and then the imaginary parts; the block that reads it has C and D.
    """

    log_decay: Float[Array, " m"]
    frequency: Float[Array, " m"]
    log_step: Float[Array, " m"]
    B_real: Float[Array, "m d"]
    B_imag: Float[Array, "m d"]
    hidden_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        modes: int,
        *,
        min_step: float = 1e-3,
        max_step: float = 1e-1,
        key: Any,
    ):
        """**Arguments:**

        - `modes`: complex, two numbers of the state each.
        - `min_step`, `max_step`: bounds of $\\Delta$ at the start.
        """
        step_key, B_key = jr.split(key)
        eigenvalues, vectors = hippo(2 * modes)
        self.log_decay = jnp.log(-jnp.asarray(np.real(eigenvalues), float))
        self.frequency = jnp.asarray(np.imag(eigenvalues), float)
        low, high = np.log(min_step), np.log(max_step)
        self.log_step = jr.uniform(step_key, (modes,), minval=low, maxval=high)
        # Random where HiPPO's own coordinates are, then taken to those of the modes.
        B = jr.normal(B_key, (2 * modes, input_size)) * input_size**-0.5
        self.B_real = jnp.asarray(np.real(vectors).T, float) @ B
        self.B_imag = -jnp.asarray(np.imag(vectors).T, float) @ B
        self.hidden_size = 2 * modes

    def eigenvalues(self) -> Complex[Array, " m"]:
        """Returns those in continuous time, with negative real parts."""
        return -jnp.exp(self.log_decay) + 1j * self.frequency

    def mode_of(self):
        return paired(self.hidden_size // 2)

    def start(self) -> Complex[Array, " m"]:
        return jnp.zeros_like(self.eigenvalues())

    def gain(self) -> Complex[Array, " m"]:
        return jnp.exp(self.eigenvalues() * jnp.exp(self.log_step))

    def enter(self, x: Float[Array, " d"]) -> Complex[Array, " m"]:
        driven = self.B_real @ x + 1j * (self.B_imag @ x)
        return (self.gain() - 1) / self.eigenvalues() * driven

    def advance(self, gain: Array, state: Array, entered: Array) -> Array:
        return gain * state + entered

    def leave(self, state: Array, entered: Array) -> Float[Array, " h"]:
        return jnp.concatenate([state.real, state.imag])


def hippo(
    size: int,
) -> tuple[Complex[np.ndarray, " m"], Complex[np.ndarray, "n m"]]:
    """Returns the eigenvalues of HiPPO-N with positive imaginary parts, the slowest first,
    and their eigenvectors as columns: half of an even `size` each.

    HiPPO-N is HiPPO-LegS without its term of rank one: minus a half of the identity, and
    an antisymmetric matrix of the roots of (n + 1/2) (k + 1/2).
    """
    root = np.sqrt(np.arange(size) + 0.5)
    lower = np.tril(np.outer(root, root), -1)
    frequencies, vectors = np.linalg.eigh(-1j * (lower.T - lower))
    return -0.5 + 1j * frequencies[size // 2 :], vectors[:, size // 2 :]
