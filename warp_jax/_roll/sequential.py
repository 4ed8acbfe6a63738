"""theta_0, dxs -> thetas, one step after another."""

from collections.abc import Callable

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer, check_positive
from .._transition import AbstractTransition
from .._types import Mask, Output, Weights
from .adjoint import states_by_adjoint
from .base import AbstractRoll, advance, after_a_rest, Fresh, moved, Read
from .segments import scan_in_segments


class SequentialRoll(AbstractRoll):
    """A scan over the steps: the reference for every other roll.

    With `segment` the states of one segment at a time are held, and recomputed in the
    backward pass: memory falls from `time` states to about `segment + time / segment`,
    for one more forward pass.
    """

    segment: int | None = eqx.field(static=True)
    limit: float | None = eqx.field(static=True)

    def __init__(self, *, segment: int | None = None, limit: float | None = None):
        """**Arguments:**

        - `segment`: steps of a checkpointed segment; near the square root of the length
            memory is least. By default the states of all steps are held.
        - `limit`: clips every weight to ±limit after each step (the paper's w_lim). Not
            linear, which is why it belongs to this roll alone, and why the weights then
            are rolled themselves. By default none is clipped.

        **Raises:** `ValueError` for a `segment` below 1 or a `limit` that is not positive
        and finite, `TypeError` for what is no number.
        """
        call = "SequentialRoll(segment, limit)"
        if segment is not None:
            segment = check_integer(call, "segment", segment, 1)
        if limit is not None:
            limit = check_positive(call, "limit", limit)
        self.segment = segment
        self.limit = limit

    @property
    def reduces(self) -> bool:
        return self.limit is None

    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
        read: Read,
        context: PyTree[Array],
        fresh: Fresh | None = None,
    ) -> tuple[Output, Weights]:
        def twice(theta, steps):
            return moved(self._step(transition), theta, *steps), theta

        def states(theta, *steps):
            if self.limit is None:
                return states_by_adjoint(
                    advance, transition, transition.held(), theta, *steps
                )
            last, before = lax.scan(twice, theta, steps)
            return jnp.concatenate([before, last[None]])

        if self.segment is None:
            thetas = states(theta, dxs, moves, fresh)
            return read(thetas, context), thetas[-1]

        def part(theta, steps):
            *steps, context = steps
            after = states(theta, *steps)[1:]
            return after[-1], read(after, context)

        steps = *after_a_rest(dxs, moves, fresh), context
        theta, outputs = scan_in_segments(part, theta, steps, self.segment)
        return outputs, theta

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> Weights:
        def once(theta, steps):
            return moved(self._step(transition), theta, *steps), None

        def part(theta, steps):
            return lax.scan(once, theta, steps)

        if moves is None and self.segment is not None:
            moves = jnp.ones(len(dxs), bool)
        return scan_in_segments(part, theta, (dxs, moves), self.segment)[0]

    def step(
        self,
        transition: AbstractTransition,
        theta: Weights,
        hidden: PyTree,
        dx: Float[Array, " c"],
    ) -> tuple[Weights, PyTree]:
        theta, hidden = transition.advance(theta, hidden, dx)
        return self._clip(theta), hidden

    def _step(self, transition: AbstractTransition) -> Callable[[Array, Array], Array]:
        return lambda theta, dx: self._clip(transition.step(theta, dx))

    def _clip(self, theta: Weights) -> Weights:
        return theta if self.limit is None else jnp.clip(theta, -self.limit, self.limit)
