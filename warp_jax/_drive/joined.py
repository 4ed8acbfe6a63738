"""Drives beside each other, and drives that go through a network."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .._types import Mask, Observation, Observations, Scalar, State, Times
from .base import AbstractDrive, check_drive


class JoinedDrive(AbstractDrive):
    """Several drives beside each other, as `JoinedDrive(Increments(), LogSignature(...))`:
    their channels one after another.
    """

    drives: tuple[AbstractDrive, ...]

    def __init__(self, *drives: AbstractDrive):
        """**Arguments:**

        - `*drives`: the drives in the order of their channels, at least one.

        **Raises:** `ValueError` for none, `TypeError` for what is no drive.
        """
        if not drives:
            raise ValueError("`JoinedDrive(*drives)` needs a drive; got none.")
        for drive in drives:
            check_drive("JoinedDrive(*drives)", drive)
        self.drives = drives

    def size(self, input_size: int) -> int:
        return sum(drive.size(input_size) for drive in self.drives)

    def init(self, x: Observation) -> PyTree:
        return tuple(drive.init(x) for drive in self.drives)

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        parts = [drive.step(own, x, t) for drive, own in self._split(state)]
        dxs, memories = zip(*parts)
        return jnp.concatenate(dxs), memories

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        parts = [drive(own, xs, ts, mask, reset) for drive, own in self._split(state)]
        dxs, memories = zip(*parts)
        return jnp.concatenate(dxs, axis=1), memories

    def _split(self, state: State):
        """Yields each drive with a state that has the memory of its own."""
        for drive, memory in zip(self.drives, state.memory):
            yield drive, State(state.theta, state.x, state.t, memory)


class EmbeddedDrive(AbstractDrive):
    """A network embeds what another drive gives at each step, by itself (a token).

    `EmbeddedDrive(Values(), network)` drives by `network(x_t)`: what is learnt may hold
    products of the channels of one observation, which the recurrence cannot make. With
    `A = I` the state is then a sum over the observations, in whatever order they come
    (deep sets, Zaheer et al. 2017, arXiv 1703.06114).
    """

    drive: AbstractDrive
    network: Callable

    def __init__(self, drive: AbstractDrive, network: Callable):
        """**Arguments:**

        - `drive`: what is embedded, as `Values()` or `Increments()`.
        - `network`: `(drive,) -> (embedding,)`, as an `equinox.nn.MLP`; trained.

        **Raises:** `TypeError` for what is no drive or no function. A network that does
        not take the drive raises `ValueError` once the observations are known.
        """
        call = "EmbeddedDrive(drive, network)"
        self.drive = check_drive(call, drive)
        if not callable(network):
            raise TypeError(
                f"`{call}` needs a function for `network`; got {network!r:.80}."
            )
        self.network = network

    def size(self, input_size: int) -> int:
        dx = jax.ShapeDtypeStruct((self.drive.size(input_size),), jnp.float32)
        try:
            embedded = eqx.filter_eval_shape(lambda net, dx: net(dx), self.network, dx)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "`EmbeddedDrive(drive, network)` needs a network that takes "
                f"{dx.shape[0]} numbers, the drive of {input_size} channels by "
                f"{self.drive}: {error}"
            ) from error
        if len(embedded.shape) != 1:
            raise ValueError(
                "`EmbeddedDrive(drive, network)` needs a network with a vector for "
                f"output; got shape {embedded.shape}."
            )
        return embedded.shape[0]

    def seen(self, xs: Float[Array, "..."]) -> Bool[Array, "..."] | None:
        return self.drive.seen(xs)

    def init(self, x: Observation) -> PyTree:
        return self.drive.init(x)

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        dx, memory = self.drive.step(state, x, t)
        return self.network(dx), memory

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        dxs, memory = self.drive(state, xs, ts, mask, reset)
        if mask is not None:
            # Where padding holds NaN, not even a gradient of zero may pass it.
            dxs = jnp.where(mask[:, None], dxs, 0)
        return jax.vmap(self.network)(dxs), memory
