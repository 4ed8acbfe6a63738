"""time -> coordinate."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._check import check_integer, check_positive
from ._types import Scalar


class AbstractCoordinates(eqx.Module):
    """Where the auxiliary network is read: an embedding of time.

    The first entry of a coordinate is always the time itself, so that a decoder which
    knows a law can use it.
    """

    out_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, time: Scalar) -> Float[Array, " q"]:
        """Returns the coordinate, of shape `(out_size,)`, of a scalar `time`."""


class TimeCoordinate(AbstractCoordinates):
    """The time alone: a coordinate of one number."""

    out_size: int = eqx.field(static=True, default=1)

    def __call__(self, time: Scalar) -> Float[Array, " q"]:
        return time[None]


class SinusoidalCoordinates(AbstractCoordinates):
    r"""The time, and after it $\sin(s t / b^{i/D})$ and $\cos(s t / b^{i/D})$ for
    $i = 0, 2, \dots, D - 2$ (arXiv 2506.01153, positional encoding).
    """

    size: int = eqx.field(static=True)
    base: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, size: int, base: float = 10_000.0, *, scale: float = 1.0):
        """**Arguments:**

        - `size`: $D$, how many sines and cosines; even. A coordinate has one more.
        - `base`: $b$, the ratio of the longest wave to the shortest, above 1.
        - `scale`: $s$, multiplies the time first; with times in [0, 1] the number of steps
            makes the shortest wave about six steps long.
        """
        call = "SinusoidalCoordinates(size, base)"
        self.size = check_integer(call, "size", size, 2)
        if self.size % 2:
            raise ValueError(f"`{call}` needs an even `size`; got size={size}.")
        self.base = check_positive(call, "base", base)
        if self.base <= 1:
            raise ValueError(f"`{call}` needs `base > 1`; got base={base}.")
        self.scale = check_positive(call, "scale", scale)
        self.out_size = self.size + 1

    def __call__(self, time: Scalar) -> Float[Array, " q"]:
        exponents = jnp.arange(0, self.size, 2, dtype=time.dtype) / self.size
        angles = self.scale * time * self.base**-exponents
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=1).ravel()
        return jnp.concatenate([time[None], waves])


class RasterCoordinates(AbstractCoordinates):
    """The time, row and column of a pixel, for an image read row by row over [0, 1].

    Rows and columns run from -1 to 1. A time between two pixels has the nearer one's
    place.
    """

    height: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, height: int, width: int):
        """**Arguments:** `height` and `width` of the image in pixels, at least 2."""
        call = "RasterCoordinates(height, width)"
        self.height = check_integer(call, "height", height, 2)
        self.width = check_integer(call, "width", width, 2)
        self.out_size = 3

    def __call__(self, time: Scalar) -> Float[Array, " q"]:
        pixel = jnp.round(time * (self.height * self.width - 1))
        row, column = jnp.divmod(pixel, self.width)
        place = 2 * jnp.stack([row / (self.height - 1), column / (self.width - 1)]) - 1
        return jnp.concatenate([time[None], place.astype(time.dtype)])
