"""theta_0, dxs -> thetas, by a convolution with the causal kernel."""

import warnings

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._transition import AbstractTransition
from .._types import Weights
from .base import AbstractParallelRoll, Fresh, powers, refuse_fresh
from .segments import KEPT


class ConvolutionRoll(AbstractParallelRoll):
    """The states as a causal convolution of the drives with the kernel `A^s B`, by fast
    Fourier transforms, and to it `A^t theta_0` (as the convolutional form of S4, Gu et
    al. 2022, arXiv 2111.00396).

    Work is time times its logarithm, for each pair of a state and a drive; the kernel
    holds time numbers for each such pair, which is warned of where they are many.
    """

    def states(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        fresh: Fresh | None = None,
    ) -> Float[Array, "t p"]:
        refuse_fresh(self, fresh)
        length = len(dxs)
        numbers = length * transition.state_size * transition.input_size
        if numbers > KEPT:
            warnings.warn(
                f"`ConvolutionRoll` holds a kernel of {numbers:,} numbers for "
                f"{length:,} steps of {type(transition).__name__}. Use `AutoRoll`, or a "
                "transition with fewer coefficients.",
                stacklevel=2,
            )
        padded = 1 << (length - 1).bit_length()
        # A B that is not stored, as the identity, knows no precision.
        columns = transition.input_matrix().T.astype(theta.dtype)
        kernel, _ = powers(transition, columns, padded)
        free, _ = powers(transition, transition.apply(theta)[None], padded)
        # Twice the length, so that the end of a circular convolution does not come round.
        size = 2 * padded
        spectrum = jnp.fft.rfft(kernel, n=size, axis=0)
        drives = jnp.fft.rfft(dxs, n=size, axis=0)
        product = jnp.einsum("fcp,fc->fp", spectrum, drives)
        forced = jnp.fft.irfft(product, n=size, axis=0)[:length]
        return forced.astype(theta.dtype) + free[:length, 0]
