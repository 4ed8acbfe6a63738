"""state, coordinate -> a distribution over y."""

import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import check_positive
from .._span import Span
from .._types import Gaussian, State
from .base import AbstractDecoder


class GaussianDecoder(AbstractDecoder):
    """Splits another decoder's output into the mean and the raw standard deviation of a
    Gaussian: `std = max(softplus(raw), min_std)` (arXiv 2506.01153).
    """

    decoder: AbstractDecoder
    min_std: float = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: AbstractDecoder, min_std: float = 1e-4):
        """**Arguments:**

        - `decoder`: has an even `out_size`: first all means, then all raw deviations.
        - `min_std`: the least standard deviation, positive, in the output's units; by
            default 1e-4.

        **Raises:** `ValueError` for an odd number of outputs or a deviation that is not
        positive and finite, `TypeError` for what is no number.
        """
        call = "GaussianDecoder(decoder, min_std)"
        if decoder.out_size % 2:
            raise ValueError(
                f"`{call}` needs a decoder with an even number of outputs, a mean and a "
                f"deviation for each; got out_size={decoder.out_size}."
            )
        self.decoder = decoder
        self.min_std = check_positive(call, "min_std", min_std)
        self.state_size = decoder.state_size
        self.out_size = decoder.out_size // 2

    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Gaussian:
        mean, raw = jnp.split(self.decoder(state, coordinate), 2)
        return Gaussian(mean, jnp.maximum(jnn.softplus(raw), self.min_std))

    def spanned(self, span: Span) -> AbstractDecoder:
        return GaussianDecoder(self.decoder.spanned(span), self.min_std)

    @property
    def footprint(self) -> int:
        return self.decoder.footprint
