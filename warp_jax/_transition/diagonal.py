"""A as a real diagonal."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from .._types import Scalar, Weights
from .base import AbstractTransition, check_sizes


class AbstractElementwiseTransition(AbstractTransition):
    """A that multiplies each weight by a number: its gain is these numbers, or one."""

    def apply(self, theta: Weights) -> Weights:
        return self.act(self.gain(), theta)

    def poles(self) -> tuple[Complex[Array, " n"], Int[Array, " n"]]:
        values = jnp.atleast_1d(self.gain())
        times = self.state_size // len(values)
        return values + 0j, jnp.full(len(values), times)

    def compose(self, later: Array, earlier: Array) -> Array:
        return later * earlier

    def act(self, gain: Array, theta: Weights) -> Weights:
        return gain * theta

    @property
    def compose_work(self) -> int:
        return self.gain_size

    @property
    def divisible(self) -> bool:
        return True

    def power(self, steps: Scalar) -> Array:
        return self.gain() ** steps


class DiagonalTransition(AbstractElementwiseTransition):
    """A real diagonal `a`, starting at one, and a full B, starting at zero.

    The cheapest transition and the weakest: weights never mix, and a real diagonal cannot
    oscillate. A baseline for the others.
    """

    a: Float[Array, " p"]
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
            "DiagonalTransition", state_size, input_size
        )
        self.a = jnp.ones(self.state_size)
        self.B = jnp.zeros((self.state_size, self.input_size))

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.B @ dx

    def bounded(self, radius: float) -> "DiagonalTransition":
        return eqx.tree_at(lambda t: t.a, self, jnp.clip(self.a, -radius, radius))

    def gain(self) -> Float[Array, " p"]:
        return self.a

    def matrix(self) -> Float[Array, "p p"]:
        return jnp.diag(self.a)

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B
