"""theta_0, dxs -> thetas, by the roll that suits the transition and the length."""

import math
from collections.abc import Callable

from jaxtyping import Array, Float, PyTree

from .._transition import AbstractTransition
from .._types import Mask, Output, Weights
from .base import AbstractRoll
from .sequential import SequentialRoll


# Numbers in the states of one sequence above which they are recomputed, not kept.
KEPT = 2**22


class AutoRoll(AbstractRoll):
    """Chooses the roll from the transition and the length of the sequence.

    At present always sequential: with checkpointed segments of about the square root of
    the length where the states of all steps would be over four million numbers.
    """

    def resolve(self, transition: AbstractTransition, length: int) -> AbstractRoll:
        """Returns the roll that a sequence of `length` steps gets."""
        if length * transition.state_size <= KEPT:
            return SequentialRoll()
        return SequentialRoll(segment=math.ceil(math.sqrt(length)))

    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask,
        read: Callable[[Weights, PyTree], Output],
        context: PyTree[Array],
    ) -> tuple[Output, Weights]:
        roll = self.resolve(transition, len(dxs))
        return roll(transition, theta, dxs, moves, read, context)

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask,
    ) -> Weights:
        return self.resolve(transition, len(dxs)).last(transition, theta, dxs, moves)

    def step(
        self, transition: AbstractTransition, theta: Weights, dx: Float[Array, " c"]
    ) -> Weights:
        return self.resolve(transition, 1).step(transition, theta, dx)
