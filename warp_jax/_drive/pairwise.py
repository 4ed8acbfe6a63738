"""Drives that look at an observation and the one before it."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import Mask, Observation, Observations, Scalar, State, Times
from .base import AbstractDrive, hold, previous


class AbstractPairwiseDrive(AbstractDrive):
    """A drive that looks at an observation and the one before it, and no further."""

    time_channel: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def combine(
        self, before: Float[Array, " c"], now: Float[Array, " c"]
    ) -> Float[Array, " c"]:
        """Returns the drive between two consecutive observations."""

    def size(self, input_size: int) -> int:
        return input_size + int(self.time_channel)

    def init(self, x: Observation) -> PyTree:
        return None

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        before, now = self._channels(state.x, state.t), self._channels(x, t)
        return self.combine(before, now), None

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        # Padding may hold NaN, which not even a gradient of zero may pass.
        xs, ts = hold(xs, mask, state.x), hold(ts, mask, state.t)
        now = jax.vmap(self._channels)(xs, ts)
        before = jax.vmap(self._channels)(
            previous(state.x, xs, None), previous(state.t, ts, None)
        )
        return jax.vmap(self.combine)(before, now), None

    def _channels(self, x: Observation, t: Scalar) -> Float[Array, " c"]:
        return jnp.append(x, t.astype(x.dtype)) if self.time_channel else x


class Increments(AbstractPairwiseDrive):
    """`dx_t = x_t - x_{t-1}` (arXiv 2506.01153, eq. 1), the default.

    **Arguments:**

    - `time_channel`: whether the time is one more channel of the input, the last; by
        default not. Then the transition's `input_size` is one more than the input's.
    """

    time_channel: bool = eqx.field(static=True, default=False)

    def combine(self, before: Array, now: Array) -> Array:
        return now - before


class Values(AbstractPairwiseDrive):
    """`dx_t = x_t`: the observations themselves, as in most linear recurrences.

    The first observation still enters through the initial state alone.

    **Arguments:**

    - `time_channel`: whether the time is one more channel of the input, the last; by
        default not.
    """

    time_channel: bool = eqx.field(static=True, default=False)

    def combine(self, before: Array, now: Array) -> Array:
        return now
