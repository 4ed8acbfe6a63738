"""coefficients -> theta: the weights that a low-dimensional recurrence can reach."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._types import Scalar, Weights


class Span(eqx.Module):
    """All weights `scale * origin + basis @ weights`, named by coefficients.

    - `basis`: directions as columns, `(state, columns)`; shared by all sequences.
    - `origin`: of shape `(state,)`; may be each sequence's own. `None` stands for zero.
    - `skip`: coefficients before those that weigh the columns: they move the recurrence
        and are no part of the weights.
    - `scaled`: whether one more coefficient, the last, scales the origin.
    - `shared`: whether the origin is that of all sequences, too.
    - `keep`: what each column's weight is multiplied by, as in dropout; may be each
        sequence's own. `None` stands for 1.
    """

    basis: Float[Array, "p k"]
    origin: Weights | None
    skip: int = eqx.field(static=True, default=0)
    scaled: bool = eqx.field(static=True, default=False)
    shared: bool = eqx.field(static=True, default=False)
    keep: Float[Array, " k"] | None = None

    @property
    def size(self) -> int:
        """How many coefficients there are."""
        return self.skip + self.basis.shape[1] + int(self.scaled)

    def split(
        self, coefficients: Float[Array, " m"]
    ) -> tuple[Float[Array, " k"], Scalar | None]:
        """Returns the columns' weights, and the origin's scale, `None` standing for 1."""
        stop = self.skip + self.basis.shape[1]
        scale = coefficients[-1] if self.scaled else None
        weights = coefficients[self.skip : stop]
        return (weights if self.keep is None else self.keep * weights), scale

    def flat(self) -> "Span":
        """Returns the span with its origin as one more column, where all sequences share it
        and a coefficient scales it.
        """
        if not (self.shared and self.scaled) or self.keep is not None:
            return self
        basis = jnp.concatenate([self.basis, self.origin[:, None]], axis=1)
        return Span(basis, None, skip=self.skip)

    def bare(self) -> "Span":
        """Returns the span without its directions: names coefficients, and no weights."""
        return dataclasses.replace(self, basis=self.basis[:0], origin=None)

    def switched(self, other_counts: Bool[Array, ""], other: "Span") -> "Span":
        """Returns the span of another sequence of the same recurrence, where it counts."""

        def choose(mine, theirs):
            return None if mine is None else jnp.where(other_counts, theirs, mine)

        return dataclasses.replace(
            self,
            origin=choose(self.origin, other.origin),
            keep=choose(self.keep, other.keep),
        )

    def theta(self, coefficients: Float[Array, " m"]) -> Weights:
        """Returns the weights, of shape `(state,)`."""
        weights, scale = self.split(coefficients)
        moved = self.basis @ weights
        if self.origin is None:
            return moved
        return (self.origin if scale is None else scale * self.origin) + moved
