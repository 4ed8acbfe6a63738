"""theta_{t-1}, dx_t -> theta_t: the interface."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from .._check import check_integer
from .._types import Weights


class AbstractTransition(eqx.Module):
    """One linear step of the state: `theta_t = A theta_{t-1} + B dx_t`.

    A subclass decides how A and B are stored. Every roll is written against these methods
    alone, so a new structure works in all of them.
    """

    state_size: eqx.AbstractVar[int]
    input_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def apply(self, theta: Weights) -> Weights:
        """Returns `A theta`, of shape `(state,)`, without forming A where it can."""

    @abc.abstractmethod
    def inject(self, dx: Float[Array, " c"]) -> Weights:
        """Returns `B dx`, of shape `(state,)`: what one drive adds to the state."""

    @abc.abstractmethod
    def matrix(self) -> Float[Array, "p p"]:
        """Returns A as a dense matrix, of shape `(state, state)`."""

    @abc.abstractmethod
    def input_matrix(self) -> Float[Array, "p c"]:
        """Returns B as a dense matrix, of shape `(state, drive)`."""

    def step(self, theta: Weights, dx: Float[Array, " c"]) -> Weights:
        """Takes one step (arXiv 2506.01153, eq. 1).

        **Arguments:**

        - `theta`: the state before it, of shape `(state,)`.
        - `dx`: the drive, of shape `(drive,)`.

        **Returns:** the state after it, of shape `(state,)`.
        """
        return self.apply(theta) + self.inject(dx)


def check_sizes(name: str, state_size, input_size) -> tuple[int, int]:
    """Returns both sizes; raises unless they are whole numbers of at least 1."""
    call = f"{name}(state_size, input_size)"
    return (
        check_integer(call, "state_size", state_size, 1),
        check_integer(call, "input_size", input_size, 1),
    )
