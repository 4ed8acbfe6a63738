"""Diagonal structured state-space cell, S4D (Gu et al. 2022, arXiv 2206.11893)."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float, Int

from .recurrent import AbstractScanned, held


# Steps that are one matrix product.
BLOCK = 64


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

    def power(self, steps: Int[Array, ""]) -> Complex[Array, "d m"]:
        """Returns what so many steps multiply by."""
        return jnp.exp(self.eigenvalues() * jnp.exp(self.log_step)[:, None] * steps)

    def gain(self) -> tuple[Complex[Array, "d m"], Complex[Array, "d m"]]:
        gain = self.power(jnp.ones((), int))
        return gain, (gain - 1) / self.eigenvalues()

    def enter(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x

    def advance(self, gain: Any, state: Array, entered: Array) -> Array:
        kept, added = gain
        return kept * state + added * entered[:, None]

    def leave(self, state: Array, entered: Array) -> Float[Array, " h"]:
        return self._read(state)

    def roll(self, carry, xs, mask):
        """Takes the steps in blocks. What every step multiplies by is the same, so that
        within a block this is a convolution, as in the paper; done as a matrix product and
        not by Fourier transforms, whose rounding tells a step of later ones.
        """
        size = min(BLOCK, len(xs))
        start, before = self.init() if carry is None else carry
        C = self.C_real + 1j * self.C_imag
        powers = jax.vmap(self.power)(jnp.arange(size + 1))
        added = self.gain()[1][None] * powers[:size]
        # Valid steps come first, as nothing before them may pass.
        order, place = jnp.argsort(~mask, stable=True), jnp.cumsum(mask) - 1
        packed = jnp.where(mask[order][:, None], xs[order], 0)
        packed = jnp.pad(packed, ((0, -len(xs) % size), (0, 0)))
        blocks = packed.reshape(-1, size, xs.shape[1])

        age = jnp.arange(size)[:, None] - jnp.arange(size)[None]
        kernel = jax.vmap(self._read)(added)[age]
        kernel = jnp.where((age >= 0)[..., None], kernel, 0)
        within = jnp.einsum("ijd,njd->nid", kernel, blocks)
        made = _product("jdm,njd->ndm", added[::-1], blocks)
        _, starts = lax.scan(
            lambda state, made: (powers[size] * state + made, state), start, made
        )
        since = _product("idm,ndm->nid", 2 * C[None] * powers[1:], starts).real
        hidden = (within + since).reshape(-1, xs.shape[1])[jnp.maximum(place, 0)]
        hidden = held(hidden, before, mask)

        block, latest = jnp.divmod(jnp.maximum(place[-1], 0), size)
        seen = jnp.where((age[latest] >= 0)[:, None, None], added[age[latest]], 0)
        state = jnp.einsum("jdm,jd->dm", seen, blocks[block])
        state = state + powers[latest + 1] * starts[block]
        return hidden, (jnp.where(place[-1] < 0, start, state), hidden[-1])

    def _read(self, state: Complex[Array, "d m"]) -> Float[Array, " d"]:
        return 2 * jnp.sum(self.C_real * state.real - self.C_imag * state.imag, axis=1)


def _product(rule: str, a: Array, b: Array) -> Array:
    """Returns the `einsum` of complex arrays as those of real ones, which are fast."""
    real, imaginary = jnp.einsum(rule, a.real, b.real), jnp.einsum(rule, a.imag, b.real)
    if jnp.iscomplexobj(b):
        real = real - jnp.einsum(rule, a.imag, b.imag)
        imaginary = imaginary + jnp.einsum(rule, a.real, b.imag)
    return lax.complex(real, imaginary)
