"""ts -> the time since the observation before, beside another drive."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .._types import Mask, Observation, Observations, Scalar, State, Times
from .base import AbstractDrive, check_drive, previous


class Elapsed(AbstractDrive):
    """Another drive, and after its channels the time since the observation before: what a
    transition in `ContinuousTime` goes by. Of drives around drives, the outermost.

    For any other transition it is one more channel.
    """

    drive: AbstractDrive

    def __init__(self, drive: AbstractDrive):
        """**Arguments:**

        - `drive`: as `Increments()`. With irregular times the sum of its channels should
            not depend on how often is observed, as that of `Values()` does.

        **Raises:** `TypeError` for what is no drive.
        """
        self.drive = check_drive("Elapsed(drive)", drive)

    @property
    def timed(self) -> bool:
        return True

    def size(self, input_size: int) -> int:
        return self.drive.size(input_size) + 1

    def seen(self, xs: Float[Array, "..."]) -> Bool[Array, "..."] | None:
        return self.drive.seen(xs)

    def init(self, x: Observation) -> PyTree:
        return self.drive.init(x)

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        dx, memory = self.drive.step(state, x, t)
        return jnp.append(dx, (t - state.t).astype(dx.dtype)), memory

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        dxs, memory = self.drive(state, xs, ts, mask, reset)
        elapsed = (ts - previous(state.t, ts, mask)).astype(dxs.dtype)
        return jnp.concatenate([dxs, elapsed[:, None]], axis=1), memory
