"""xs, ts, mask -> dxs: what drives the recurrence, and which steps move it."""

import abc

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped

from .._types import Mask, Observation, Observations, Scalar, State, Times


def latest_valid(mask: Mask) -> Int[Array, " t"]:
    """Returns for each step the index of the latest valid step, itself included.

    Steps before the first valid one get the first valid one.
    """
    steps = jnp.arange(mask.shape[0])
    latest = lax.cummax(jnp.where(mask, steps, -1))
    return jnp.where(latest < 0, jnp.argmax(mask), latest)


def hold(
    values: Shaped[Array, "t ..."],
    mask: Mask | None,
    start: Shaped[Array, "..."] | None = None,
) -> Shaped[Array, "t ..."]:
    """Returns `values` with the latest valid one in the place of each invalid one.

    Before the first valid one that is `start`, by default the first valid one itself.
    """
    if mask is None:
        return values
    held = values[latest_valid(mask)]
    if start is None:
        return held
    started = jnp.cumsum(mask) > 0
    return jnp.where(started.reshape((-1,) + (1,) * (values.ndim - 1)), held, start)


def counting(mask: Mask | None, seen: Bool[Array, "t d"]) -> Bool[Array, "t d"]:
    """Returns which numbers of a sequence count: those seen, of the valid steps."""
    return seen if mask is None else mask[:, None] & seen


def filled(
    x: Observation, seen: Bool[Array, " d"] | None, before: Observation
) -> Observation:
    """Returns an observation with the numbers `before` it where some were not seen."""
    return x if seen is None else jnp.where(seen, x, before)


def hold_seen(
    xs: Observations,
    seen: Bool[Array, "t d"],
    start: Observation,
    reset: Mask | None = None,
) -> Observations:
    """Returns `xs` with the latest seen number of each channel where one is missing, that
    of `start` before any, and zero before any of a sequence that begins at a `reset`.
    """
    if reset is not None:
        unknown = reset[:, None] & ~seen
        xs, seen = jnp.where(unknown, 0, xs), seen | unknown
    return jax.vmap(hold, (1, 1, 0), 1)(xs, seen, start)


def previous(
    start: Shaped[Array, "..."], values: Shaped[Array, "t ..."], mask: Mask | None
) -> Shaped[Array, "t ..."]:
    """Returns for each step the latest valid value before it, `start` before the first."""
    return jnp.concatenate([start[None], hold(values, mask, start)[:-1]])


def advancing(mask: Mask | None, length: int, continued: bool) -> Mask:
    """Returns the steps at which the recurrence moves, of `(time,)`: the valid ones.

    A sequence that is not `continued` from a state begins *at* its first valid step,
    which sets the initial state and so is no move.
    """
    mask = jnp.ones(length, bool) if mask is None else mask
    return mask if continued else mask & (jnp.cumsum(mask) > 1)


class AbstractDrive(eqx.Module):
    """Turns observations into what is added to the state through the input matrix.

    A drive has two forms that give the same numbers: a call for a whole sequence, and
    `init` and `step` for streaming.
    """

    @property
    def timed(self) -> bool:
        """Whether the last channel is the time since the observation before: `Elapsed`."""
        return False

    @abc.abstractmethod
    def size(self, input_size: int) -> int:
        """Returns how many channels the drive of an input with `input_size` has."""

    def seen(self, xs: Float[Array, "..."]) -> Bool[Array, "..."] | None:
        """Returns which numbers of observations were seen, or `None`, the default, where
        all must be. The others may be NaN, and the drive makes do without: see `Gaps`.
        """
        return None

    @abc.abstractmethod
    def init(self, x: Observation) -> PyTree:
        """Returns the memory that `step` needs after the first observation, or `None`."""

    @abc.abstractmethod
    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        """Takes one observation.

        **Arguments:**

        - `state`: what was remembered before it; `theta` is not looked at.
        - `x`, `t`: the observation, `(input,)`, and its time.

        **Returns:** the drive, `(drive,)`, and the memory after this step.
        """

    @abc.abstractmethod
    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        """Takes a sequence.

        **Arguments:**

        - `state`: what was remembered before it; `theta` is not looked at.
        - `xs`, `ts`, `mask`: the observations `(time, input)`, their times `(time,)`, and
            which of them count, `(time,)`, all by default.
        - `reset`: the valid steps at which a new sequence begins, which knows nothing of
            what was before it; by default none. `by_steps` serves a drive with a memory.

        **Returns:** the drive of each step, `(time, drive)`, arbitrary where `mask` is
        False or a sequence begins; and the memory after the last valid step.
        """


def by_steps(
    drive: AbstractDrive,
    state: State,
    xs: Observations,
    ts: Times,
    mask: Mask | None,
    reset: Mask,
) -> tuple[Float[Array, "t c"], PyTree]:
    """Returns what a drive gives for a sequence, from its `init` and `step` alone."""

    def move(state, inputs):
        x, t, valid, begins = inputs
        dx, memory = drive.step(state, x, t)
        memory = jax.tree.map(
            lambda a, b: jnp.where(begins, a, b), drive.init(x), memory
        )
        after = State(state.theta, x, t, memory)
        if valid is not None:
            after = jax.tree.map(lambda a, b: jnp.where(valid, a, b), after, state)
        return after, dx

    # Padding may hold NaN, which not even a gradient of zero may pass.
    held = hold(xs, mask, state.x), hold(ts, mask, state.t)
    start = State(state.theta, state.x, state.t, state.memory)
    after, dxs = lax.scan(move, start, (*held, mask, reset))
    return dxs, after.memory


def check_drive(call: str, drive) -> AbstractDrive:
    """Returns `drive`; raises unless it is one."""
    if not isinstance(drive, AbstractDrive):
        raise TypeError(
            f"`{call}` needs drives, as `Increments()`; got {type(drive).__name__}: "
            f"{drive!r:.80}."
        )
    return drive
