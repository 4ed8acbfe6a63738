"""xs -> products of consecutive observations: the terms of sufficient statistics."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .pairwise import AbstractPairwiseDrive


class AbstractPairs(eqx.Module):
    """Which inputs and targets of a regression two consecutive observations make."""

    in_size: eqx.AbstractVar[int]
    out_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(
        self, before: Float[Array, " c"], now: Float[Array, " c"]
    ) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        """Returns inputs, `(in_size,)`, and targets, `(out_size,)`."""


class Products(AbstractPairwiseDrive):
    r"""The distinct entries of $\phi \phi^\top$, and all of $\phi \delta^\top$, of the
    inputs $\phi$ and targets $\delta$ that two consecutive observations make.

    Summed by a recurrence with `A = a I` and `B = I` they are the normal equations of a
    linear regression. By default the input is the observation before and the target its
    increment: the regression is then $x_{t+1} - x_t = P^\top x_t$.

    Products of numbers of very different size lose digits only against their own kind, so
    that no scaling is needed here.

    **Arguments:**

    - `time_channel`: whether the time is one more channel of the observations, the last; by
        default not.
    - `pairs`: which inputs and targets two consecutive observations make, as
        `physics.Tokens(8, 1)`; by default the observation before, and its increment.
    """

    time_channel: bool = eqx.field(static=True, default=False)
    pairs: AbstractPairs | None = None

    def combine(self, before: Array, now: Array) -> Array:
        if self.pairs is None:
            return products(before, now - before)
        return products(*self.pairs(before, now))

    def size(self, input_size: int) -> int:
        channels = input_size + int(self.time_channel)
        if self.pairs is None:
            return products_size(channels, channels)
        return products_size(self.pairs.in_size, self.pairs.out_size)


def products(
    inputs: Float[Array, " n"], targets: Float[Array, " m"]
) -> Float[Array, " c"]:
    """Returns the products of a pair, the upper triangle row by row and then the rest, of
    shape `(products_size(n, m),)`.
    """
    rows, columns = jnp.triu_indices(len(inputs))
    across = jnp.outer(inputs, targets).ravel()
    return jnp.concatenate([inputs[rows] * inputs[columns], across])


def products_size(inputs: int, targets: int) -> int:
    """Returns how many products a pair makes."""
    return inputs * (inputs + 1) // 2 + inputs * targets


def normal_equations(
    sums: Float[Array, " c"], inputs: int, targets: int
) -> tuple[Float[Array, "n n"], Float[Array, "n m"]]:
    """Returns the sums of the products of pairs as the two matrices that they fill."""
    rows, columns = jnp.triu_indices(inputs)
    across = sums[len(rows) :].reshape(inputs, targets)
    square = jnp.zeros((inputs, inputs), sums.dtype)
    square = square.at[rows, columns].set(sums[: len(rows)])
    return square.at[columns, rows].set(sums[: len(rows)]), across
