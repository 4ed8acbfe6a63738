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
    """The time alone: a coordinate of one number (arXiv 2506.01153)."""

    out_size: int = eqx.field(static=True, default=1, init=False)

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
        - `base`: $b$, about the ratio of the longest wave to the shortest, above 1; by
            default 10 000.
        - `scale`: $s$, positive, multiplies the time first, by default by 1; with times in
            [0, 1] the number of steps makes the shortest wave about six steps long.

        **Raises:** `ValueError` for an odd `size`, or a number outside its range;
        `TypeError` for what is no number.
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
    """The time, row and column of a pixel, for an image read row by row over [0, 1], and
    waves over the rows and over the columns.

    Rows and columns run from -1 to 1. A time between two pixels has the nearer one's
    place. Without waves a small network draws only smooth pictures (Tancik et al. 2020,
    arXiv 2006.10739).
    """

    height: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    waves: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, height: int, width: int, waves: int = 0):
        """**Arguments:**

        - `height`, `width`: of the image in pixels, at least 2.
        - `waves`: how many frequencies to add, each as a sine and a cosine over the rows
            and over the columns: the k-th one has k half periods over the image. By default
            none.

        **Raises:** `ValueError` for a number below its least, `TypeError` for one that is
        not whole.
        """
        call = "RasterCoordinates(height, width, waves)"
        self.height = check_integer(call, "height", height, 2)
        self.width = check_integer(call, "width", width, 2)
        self.waves = check_integer(call, "waves", waves, 0)
        self.out_size = 3 + 4 * self.waves

    def __call__(self, time: Scalar) -> Float[Array, " q"]:
        pixel = jnp.round(time * (self.height * self.width - 1))
        row, column = jnp.divmod(pixel, self.width)
        place = 2 * jnp.stack([row / (self.height - 1), column / (self.width - 1)]) - 1
        frequencies = jnp.pi / 2 * jnp.arange(1, self.waves + 1, dtype=time.dtype)
        angles = jnp.outer(frequencies, place).ravel()
        return jnp.concatenate([time[None], place, jnp.sin(angles), jnp.cos(angles)])
