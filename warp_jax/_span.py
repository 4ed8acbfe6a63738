"""coefficients -> theta: the weights that a low-dimensional recurrence can reach."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._types import Scalar, Weights


class Span(eqx.Module):
    """All weights `scale * origin + basis @ weights`, named by coefficients.

    - `basis`: directions as columns, `(state, columns)`; shared by all sequences.
    - `origin`: of shape `(state,)`; may be each sequence's own.
    - `skip`: coefficients before those that weigh the columns: they move the recurrence
        and are no part of the weights. By default none.
    - `scaled`: whether one more coefficient, the last, scales the origin; by default not.
    - `shared`: whether the origin is that of all sequences, too; by default not.
    - `keep`: what each column's weight is multiplied by, as in dropout; may be each
        sequence's own. `None`, the default, stands for 1.
    """

    basis: Float[Array, "p k"]
    origin: Weights
    skip: int = eqx.field(static=True, default=0)
    scaled: bool = eqx.field(static=True, default=False)
    shared: bool = eqx.field(static=True, default=False)
    keep: Float[Array, " k"] | None = None

    @property
    def size(self) -> int:
        """How many coefficients there are."""
        return self.skip + self.basis.shape[1] + int(self.scaled)

    def weigh(self, coefficients: Float[Array, " m"]) -> Float[Array, " n"]:
        """Returns the columns' weights, and behind them the origin's scale, if any."""
        weights = coefficients[self.skip :]
        if self.keep is None:
            return weights
        count = len(self.keep)
        return jnp.concatenate([self.keep * weights[:count], weights[count:]])

    def split(
        self, coefficients: Float[Array, " m"]
    ) -> tuple[Float[Array, " k"], Scalar | None]:
        """Returns the columns' weights, and the origin's scale, `None` standing for 1."""
        return separate(self.weigh(coefficients), self.basis.shape[1])

    def switched(self, other_counts: Bool[Array, ""], other: "Span") -> "Span":
        """Returns the span of another sequence of the same recurrence, where it counts."""

        def choose(mine, theirs):
            return None if mine is None else jnp.where(other_counts, theirs, mine)

        return dataclasses.replace(
            self,
            origin=choose(self.origin, other.origin),
            keep=choose(self.keep, other.keep),
        )

    def bare(self) -> "Span":
        """Returns the span without its directions: it can still `weigh`."""
        return dataclasses.replace(self, basis=self.basis[:0], origin=self.origin[:0])

    def theta(self, coefficients: Float[Array, " m"]) -> Weights:
        """Returns the weights, of shape `(state,)`."""
        return combined(self.basis, self.origin, self.weigh(coefficients))


def combined(
    basis: Float[Array, "*s k"], origin: Float[Array, "*s"], weights: Float[Array, " n"]
) -> Float[Array, "*s"]:
    """Returns the columns times their weights plus the origin, which the last weight
    scales if there is one more than columns.
    """
    *shape, count = basis.shape
    columns, scale = separate(weights, count)
    moved = (basis.reshape(-1, count) @ columns).reshape(shape)
    return moved + (origin if scale is None else scale * origin)


def separate(
    weights: Float[Array, " n"], count: int
) -> tuple[Float[Array, " k"], Scalar | None]:
    """Returns the weights of `count` columns, and the origin's scale, `None` standing
    for 1.
    """
    return weights[:count], weights[count] if len(weights) > count else None
