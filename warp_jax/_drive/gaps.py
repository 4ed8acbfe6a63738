"""xs with NaN where nothing was seen -> dxs of the values last seen."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .._types import Mask, Observation, Observations, Scalar, State, Times
from .base import AbstractDrive, check_drive, counting, filled, hold_seen


class Gaps(AbstractDrive):
    r"""Observations of which channels may be missing: NaN says that one was not seen.

    What is missing is the value last seen of that channel, and zero before any was. So an
    increment is zero in a gap, and after it the whole change since the value last seen;
    nothing later than a step is ever looked at, and a channel that is never seen adds
    nothing. The initial state and a decoder that observes get the same values. Without
    this drive a model refuses NaN.

    With `seen_channels` the drive also tells what was seen, one more number for each
    channel of an observation, 1 where it was and 0 in a gap: the increments of the counts
    that Kidger et al. 2020 (arXiv 2005.08926, section 3) call observational intensity.

    A step without any observation is padding rather: leave it out by `mask`. Statistics
    of steps, as `Products` makes them, take the values last seen for true.
    """

    drive: AbstractDrive
    seen_channels: bool = eqx.field(static=True)

    def __init__(self, drive: AbstractDrive, *, seen_channels: bool = False):
        """**Arguments:**

        - `drive`: what drives the recurrence where all is seen, as `Increments()`. Of
            several, wrap the whole: `Gaps(JoinedDrive(...))`.
        - `seen_channels`: whether the drive tells what was seen, after the channels of
            `drive`. Then the transition's `input_size` is that of `drive` and one more
            for each channel of an observation. By default it does not.

        **Raises:** `TypeError` for what is no drive.
        """
        self.drive = check_drive("Gaps(drive)", drive)
        self.seen_channels = bool(seen_channels)

    def size(self, input_size: int) -> int:
        flags = input_size if self.seen_channels else 0
        return self.drive.size(input_size) + flags

    def seen(self, xs: Float[Array, "..."]) -> Bool[Array, "..."]:
        return ~jnp.isnan(xs)

    def init(self, x: Observation) -> PyTree:
        return self.drive.init(filled(x, self.seen(x), jnp.zeros_like(x)))

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        seen = self.seen(x)
        dx, memory = self.drive.step(state, filled(x, seen, state.x), t)
        return self._told(dx, seen), memory

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        seen = counting(mask, self.seen(xs))
        known = hold_seen(xs, seen, state.x, reset)
        dxs, memory = self.drive(state, known, ts, mask, reset)
        return self._told(dxs, seen), memory

    def _told(self, dx: Float[Array, "*t c"], seen: Bool[Array, "*t d"]) -> Array:
        if not self.seen_channels:
            return dx
        return jnp.concatenate([dx, seen.astype(dx.dtype)], axis=-1)
