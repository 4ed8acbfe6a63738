"""theta_0, dxs -> thetas, one step after another."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer, check_positive
from .._transition import AbstractTransition
from .._types import Mask, Output, Weights
from .base import AbstractRoll


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
            linear, which is why it belongs to this roll alone. By default none is clipped.
        """
        call = "SequentialRoll(segment, limit)"
        if segment is not None:
            segment = check_integer(call, "segment", segment, 1)
        if limit is not None:
            limit = check_positive(call, "limit", limit)
        self.segment = segment
        self.limit = limit

    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask,
        read: Callable[[Weights, PyTree], Output],
        context: PyTree[Array],
    ) -> tuple[Output, Weights]:
        def part(theta, steps):
            dxs, moves, context = steps

            def move(theta, step):
                theta = self._move(transition, theta, step)
                return theta, theta

            theta, thetas = lax.scan(move, theta, (dxs, moves))
            return theta, jax.vmap(read)(thetas, context)

        theta, outputs = self._in_segments(part, theta, (dxs, moves, context))
        return outputs, theta

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask,
    ) -> Weights:
        def part(theta, steps):
            return lax.scan(
                lambda theta, step: (self._move(transition, theta, step), None),
                theta,
                steps,
            )

        return self._in_segments(part, theta, (dxs, moves))[0]

    def step(
        self, transition: AbstractTransition, theta: Weights, dx: Float[Array, " c"]
    ) -> Weights:
        theta = transition.step(theta, dx)
        if self.limit is not None:
            theta = jnp.clip(theta, -self.limit, self.limit)
        return theta

    def _move(self, transition: AbstractTransition, theta: Weights, step) -> Weights:
        dx, moves = step
        return jnp.where(moves, self.step(transition, theta, dx), theta)

    def _in_segments(self, part: Callable, theta: Weights, steps: PyTree[Array]):
        length = jax.tree.leaves(steps)[0].shape[0]
        if self.segment is None or self.segment >= length:
            return part(theta, steps)
        count = -(-length // self.segment)
        missing = count * self.segment - length

        def split(array):
            # The added steps do not move: a mask is padded with False.
            array = jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
            return array.reshape(count, self.segment, *array.shape[1:])

        theta, outputs = lax.scan(
            jax.checkpoint(part), theta, jax.tree.map(split, steps)
        )

        def join(array):
            return array.reshape(count * self.segment, *array.shape[2:])[:length]

        return theta, jax.tree.map(join, outputs)
