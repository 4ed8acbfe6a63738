"""increments -> the log-signature of a piecewise linear path, to depth two."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class LogSignature(eqx.Module):
    r"""What a path did since it began, up to second order: its increment $X$, and the area
    between it and its chord, $A_{ij} = \frac{1}{2} \int X_i\,dX_j - X_j\,dX_i$ (Levy).
    """

    increment: Float[Array, " c"]
    area: Float[Array, "c c"]

    @classmethod
    def zero(cls, channels: int) -> "LogSignature":
        """Returns that of a path that has not moved."""
        return cls(jnp.zeros(channels), jnp.zeros((channels, channels)))

    def extended(self, dx: Float[Array, " c"]) -> "LogSignature":
        """Returns that of the path with one more straight piece (Chen's identity)."""
        swept = jnp.outer(self.increment, dx)
        return LogSignature(self.increment + dx, self.area + (swept - swept.T) / 2)

    def vector(self) -> Float[Array, " s"]:
        """Returns the increment, and the areas of i < j: `c + c (c - 1) / 2` numbers."""
        above = jnp.triu_indices(len(self.increment), 1)
        return jnp.concatenate([self.increment, self.area[above]])
