"""A = a I, B = I."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar, ScalarLike, Weights
from .base import check_sizes
from .diagonal import AbstractElementwiseTransition


class SumTransition(AbstractElementwiseTransition):
    """The sum of all drives, `theta_t = keep * theta_{t-1} + dx_t`: what statistics need.

    With `keep` below one the past is forgotten, by half in `log(2) / (1 - keep)` steps.
    """

    keep: ScalarLike
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, size: int, keep: ScalarLike = 1.0):
        """**Arguments:**

        - `size`: of the state and of the drive.
        - `keep`: how much of the past a step keeps, in (0, 1], by default 1. A number stays
            what it is; an array of shape () is trained.

        **Raises:** `ValueError` for a number outside its range, `TypeError` for a `size`
        that is no whole number.
        """
        self.state_size, self.input_size = check_sizes("SumTransition", size, size)
        if not eqx.is_array(keep) and not 0 < keep <= 1:
            raise ValueError(
                f"`SumTransition(size, keep)` needs 0 < keep <= 1; got keep={keep!r}."
            )
        self.keep = keep

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return dx

    def gain(self) -> Scalar:
        return jnp.asarray(self.keep, float)

    def act(self, gain: Array, theta: Weights) -> Weights:
        # A number that is not trained has the precision of what it multiplies.
        return gain.astype(theta.dtype) * theta

    def bounded(self, radius: float) -> "SumTransition":
        if not eqx.is_array(self.keep):
            return SumTransition(self.state_size, min(self.keep, radius))
        keep = jnp.clip(self.keep, -radius, radius)
        return eqx.tree_at(lambda t: t.keep, self, keep)

    def matrix(self) -> Float[Array, "p p"]:
        return self.gain() * jnp.eye(self.state_size)

    def input_matrix(self) -> Float[Array, "p c"]:
        return jnp.eye(self.state_size)
