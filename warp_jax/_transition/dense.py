"""A as a full matrix: the paper's own transition."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Weights
from .base import AbstractTransition, check_sizes
from .eigen import bounded_matrix
from .flow import Flow


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
        """**Arguments:**

        - `state_size`, `input_size`: the lengths of the state and of the drive.

        **Raises:** `ValueError` for a size below 1, `TypeError` for one that is no whole
        number.
        """
        self.state_size, self.input_size = check_sizes(
            "DenseTransition", state_size, input_size
        )
        self.A = jnp.eye(self.state_size)
        self.B = jnp.zeros((self.state_size, self.input_size))

    def apply(self, theta: Weights) -> Weights:
        return self.A @ theta

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.B @ dx

    def bounded(self, radius: float) -> "DenseTransition":
        return eqx.tree_at(lambda t: t.A, self, bounded_matrix(self.A, radius))

    @property
    def divisible(self) -> bool:
        return True

    def flow(self) -> Flow:
        return Flow.of(self)

    def hold(self, gain: Float[Array, "p p"]) -> "HeldMatrix":
        return HeldMatrix(gain)

    def held(self) -> "DenseTransition":
        return eqx.tree_at(lambda t: t.A, super().held(), self.hold(self.A))

    def matrix(self) -> Float[Array, "p p"]:
        return self.A

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B


class HeldMatrix(eqx.Module):
    """A matrix that is not differentiated, with its transpose beside it, for products in
    every turn of a scan.

    The cotangent of `A @ theta` is a product with the transpose; made from A itself it
    reads A against its layout and takes much longer.
    """

    A: Float[Array, "p p"]
    transpose: Float[Array, "p p"]

    def __init__(self, A: Float[Array, "p p"]):
        """**Arguments:** the matrix, of shape `(state, state)`."""
        self.A = lax.stop_gradient(A)
        # Without the barrier XLA undoes the copy.
        self.transpose = lax.optimization_barrier(self.A.T)

    def __matmul__(self, theta: Weights) -> Weights:
        return _product(self.A, self.transpose, theta)


@jax.custom_vjp
def _product(A, transpose, theta):
    # Of a batch, the barrier keeps states as columns: rows make a slower product.
    return lax.optimization_barrier(A @ theta)


def _forward(A, transpose, theta):
    return _product(A, transpose, theta), transpose


def _backward(transpose, cotangent):
    return None, None, lax.optimization_barrier(transpose @ cotangent)


_product.defvjp(_forward, _backward)
