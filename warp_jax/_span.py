"""coefficients -> theta: the weights that a low-dimensional recurrence can reach."""

import equinox as eqx
from jaxtyping import Array, Float

from ._types import Scalar, Weights


class Span(eqx.Module):
    """All weights `scale * origin + basis @ weights`, named by coefficients.

    - `basis`: directions as columns, `(state, columns)`; shared by all sequences.
    - `origin`: of shape `(state,)`; may be each sequence's own.
    - `skip`: coefficients before those that weigh the columns: they move the recurrence
        and are no part of the weights.
    - `scaled`: whether one more coefficient, the last, scales the origin.
    - `keep`: what each column's weight is multiplied by, as in dropout; may be each
        sequence's own. `None` stands for 1.
    """

    basis: Float[Array, "p k"]
    origin: Weights
    skip: int = eqx.field(static=True, default=0)
    scaled: bool = eqx.field(static=True, default=False)
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

    def theta(self, coefficients: Float[Array, " m"]) -> Weights:
        """Returns the weights, of shape `(state,)`."""
        weights, scale = self.split(coefficients)
        origin = self.origin if scale is None else scale * self.origin
        return origin + self.basis @ weights
