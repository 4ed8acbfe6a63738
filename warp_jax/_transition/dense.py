"""A as a full matrix: the paper's own transition."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Weights
from .base import AbstractTransition, check_sizes


class DenseTransition(AbstractTransition):
    """Full matrices A, starting at the identity, and B, starting at zero (arXiv
    2506.01153, section 2).

    Parameters and work grow with the square of the state: right for small states, and for
    comparison with the paper.
    """

    A: Float[Array, "p p"]
    B: Float[Array, "p c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, state_size: int, input_size: int):
        """**Arguments:** the lengths of the state and of the drive."""
        self.state_size, self.input_size = check_sizes(
            "DenseTransition", state_size, input_size
        )
        self.A = jnp.eye(self.state_size)
        self.B = jnp.zeros((self.state_size, self.input_size))

    def apply(self, theta: Weights) -> Weights:
        return self.A @ theta

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.B @ dx

    def matrix(self) -> Float[Array, "p p"]:
        return self.A

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B
