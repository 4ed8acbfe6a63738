"""theta_0, dxs -> thetas: the interface."""

import abc
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from .._transition import AbstractTransition
from .._types import Mask, Output, Weights


class AbstractRoll(eqx.Module):
    """Takes a transition through a sequence. All rolls give the same numbers.

    What is wanted of each state is handed in as a function, so a roll need never hold the
    states of all steps at once.
    """

    @abc.abstractmethod
    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask,
        read: Callable[[Weights, PyTree], Output],
        context: PyTree[Array],
    ) -> tuple[Output, Weights]:
        """Reads something off the state of every step.

        **Arguments:**

        - `transition`: the recurrence.
        - `theta`: the state before the first move, of shape `(state,)`.
        - `dxs`: the drive of each step, of shape `(time, drive)`.
        - `moves`: boolean, `(time,)`; where False the state stays as it is.
        - `read`: `(theta, context of one step) -> output`.
        - `context`: what else `read` needs, arrays with a leading axis of time.

        **Returns:** the outputs, with a leading axis of time, and the last state.
        """

    @abc.abstractmethod
    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask,
    ) -> Weights:
        """Returns the last state alone, of shape `(state,)`; arguments as above."""

    @abc.abstractmethod
    def step(
        self, transition: AbstractTransition, theta: Weights, dx: Float[Array, " c"]
    ) -> Weights:
        """Takes a single step, for streaming: `(state,), (drive,) -> (state,)`."""
