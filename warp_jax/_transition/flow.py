"""A -> log A: any real power of a matrix, or of blocks of one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .._check import check_values
from .._types import Scalar
from .base import AbstractTransition
from .logarithm import log_one_plus
from .wrapped import AbstractWrappedTransition


class Flow(AbstractWrappedTransition):
    """A transition that knows the logarithm of its A, for many powers of it."""

    transition: AbstractTransition
    rate: Float[Array, "... p p"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, transition: AbstractTransition, gain: Float[Array, "... p p"]):
        """**Arguments:**

        - `transition`: whose gains are matrices, or stacks of them.
        - `gain`: A in that form, without what is singular by its layout alone.
        """
        self.transition = transition
        self.state_size = transition.state_size
        self.input_size = transition.input_size
        eye = jnp.eye(gain.shape[-1], dtype=gain.dtype)
        stack = gain.reshape(-1, *eye.shape)
        rate = jax.vmap(log_one_plus)(stack - eye[None])
        tolerance = jnp.finfo(gain.dtype).eps ** 0.6 * jnp.max(jnp.abs(gain))
        wrong = ~(jnp.max(jnp.abs(jax.vmap(jsl.expm)(rate) - stack)) < tolerance)
        message = (
            "`ContinuousTime(transition, unit)` has an A without real powers: some "
            "direction turns by a quarter of a circle in a `unit`, or shrinks to a fifth. "
            "Use a shorter `unit`, or `SpectralTransition` as `dynamics` of a "
            "`SubspaceTransition`."
        )
        self.rate = check_values(rate.reshape(gain.shape), wrong, message)

    @classmethod
    def of(cls, transition: AbstractTransition) -> "Flow":
        """Returns the flow of a transition of which A is a matrix of moderate size."""
        return cls(transition, transition.matrix())

    @property
    def divisible(self) -> bool:
        return True

    def power(self, steps: Scalar) -> Float[Array, "... p p"]:
        rates = self.rate.reshape(-1, *self.rate.shape[-2:])
        return jax.vmap(jsl.expm)(steps * rates).reshape(self.rate.shape)
