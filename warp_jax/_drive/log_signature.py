"""xs -> windowed increments and Lévy areas: what the order of events adds to their sum."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer
from .._types import Mask, Observation, Observations, Scalar, State, Times
from .base import AbstractDrive, by_steps, hold


class LogSignature(AbstractDrive):
    r"""The log-signature of the path through the latest observations (Lyons 1998; as a
    drive, Walker et al. 2024, arXiv 2402.18512).

    Straight lines join the observations. Of the path X over the latest `window` steps the
    drive has, at depth 1, the increment of each channel, and at depth 2 also the Lévy area
    of each pair of channels $i < j$, row by row,
    $\frac12 \int (X_i - X_i^0)\, dX_j - (X_j - X_j^0)\, dX_i$: the signed area between the
    path and its chord, which tells which of two channels moved first. It is a product of
    observations, which no linear recurrence makes of increments alone.

    The window slides by one step at a time. Before the first observation lie copies of it,
    and padding is skipped. The memory that streaming keeps is the increments inside the
    window. With d channels there are `d + d (d - 1) / 2` numbers; for plain increments
    beside them use `JoinedDrive(Increments(), LogSignature(...))`.
    """

    depth: int = eqx.field(static=True)
    window: int = eqx.field(static=True)
    time_channel: bool = eqx.field(static=True)

    def __init__(self, depth: int = 2, *, window: int, time_channel: bool = False):
        """**Arguments:**

        - `depth`: 1 for the increments alone, 2, the default, for areas too.
        - `window`: how many steps the path has, at least 1, where it has no area. Areas
            tell more over windows in which something happens; choose it on validation data.
        - `time_channel`: whether the time is one more channel of the path, the last; by
            default not.

        **Raises:** `ValueError` for another depth or a window below 1, `TypeError` for one
        that is no whole number.
        """
        call = "LogSignature(depth, window)"
        self.depth = check_integer(call, "depth", depth, 1)
        if self.depth > 2:
            raise ValueError(f"`{call}` has depth 1 or 2; got depth={depth!r}.")
        self.window = check_integer(call, "window", window, 1)
        self.time_channel = time_channel

    def size(self, input_size: int) -> int:
        channels = input_size + int(self.time_channel)
        areas = channels * (channels - 1) // 2
        return channels + (areas if self.depth == 2 else 0)

    def init(self, x: Observation) -> PyTree:
        channels = x.shape[0] + int(self.time_channel)
        return jnp.zeros((self.window - 1, channels), x.dtype)

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        before = self._path(state.x[None], state.t[None])
        moves = jnp.concatenate([state.memory, self._path(x[None], t[None]) - before])
        return self._signature(moves)[0], moves[1:]

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        if reset is not None:
            return by_steps(self, state, xs, ts, mask, reset)
        held = self._path(hold(xs, mask, state.x), hold(ts, mask, state.t))
        before = self._path(state.x[None], state.t[None])
        moves = jnp.diff(held, axis=0, prepend=before)
        if mask is None:
            moves = jnp.concatenate([state.memory, moves])
            return self._signature(moves), moves[len(xs) :]
        # Padding does not move, so its zeros may lie after all that moves.
        packed = moves[jnp.argsort(~mask, stable=True)]
        moves = jnp.concatenate([state.memory, packed])
        seen = jnp.cumsum(mask)
        memory = moves[seen[-1] + jnp.arange(self.window - 1)]
        return self._signature(moves)[jnp.maximum(seen - 1, 0)], memory

    def _path(self, xs: Observations, ts: Times) -> Float[Array, "t c"]:
        if not self.time_channel:
            return xs
        return jnp.concatenate([xs, ts[:, None].astype(xs.dtype)], axis=1)

    def _signature(self, moves: Float[Array, "s c"]) -> Float[Array, "t n"]:
        """Returns the log-signature of every window that lies within the moves.

        Windows are joined from halves (Chen's identity): no difference of long sums, in
        which digits would be lost.
        """
        channels = moves.shape[1]
        pairs = jnp.triu_indices(channels, 1 if self.depth == 2 else channels)
        return jnp.concatenate(_windows(moves, self.window, pairs), axis=1)


def _windows(moves: Array, length: int, pairs) -> tuple[Array, Array]:
    """Returns the increments and areas of all windows of a length."""
    one = moves, jnp.zeros((len(moves), len(pairs[0])), moves.dtype)
    if length == 1:
        return one
    half = _windows(moves, length // 2, pairs)
    whole = _joined(half, half, length // 2, pairs)
    return _joined(whole, one, length - 1, pairs) if length % 2 else whole


def _joined(
    first: tuple[Array, Array], second: tuple[Array, Array], length: int, pairs
) -> tuple[Array, Array]:
    """Joins the increments and areas of windows of a `length` with those of the windows
    that begin where these end.
    """
    after = [array[length:] for array in second]
    (a, area_a), (b, area_b) = [array[: len(after[0])] for array in first], after
    i, j = pairs
    between = (a[:, i] * b[:, j] - a[:, j] * b[:, i]) / 2
    return a + b, area_a + area_b + between
