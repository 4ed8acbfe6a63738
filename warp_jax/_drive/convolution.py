"""Drives that see a window of observations, through a convolution over time."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.lax as lax
import jax.nn as jnn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._check import check_integer
from .._types import Key, Mask, Observation, Observations, Scalar, State, Times
from .base import AbstractDrive, by_steps, hold, previous
from .pairwise import AbstractPairwiseDrive, Increments


class AbstractConvolutionDrive(AbstractDrive):
    """A convolution over time embeds the observations; another drive takes it from there.

    Before the first observation lie copies of it. Padding is skipped: the window holds the
    latest valid observations.
    """

    convolution: eqx.AbstractVar[eqx.nn.Conv1d]
    activation: eqx.AbstractVar[Callable]
    drive: eqx.AbstractVar[AbstractPairwiseDrive]

    def size(self, input_size: int) -> int:
        if input_size != self.convolution.in_channels:
            raise ValueError(
                f"`{type(self).__name__}` was built for inputs of "
                f"{self.convolution.in_channels} channels; got {input_size}."
            )
        return self.drive.size(self.convolution.out_channels)

    def _embed(self, history: Float[Array, "s d"]) -> Float[Array, "n c"]:
        return self.activation(self.convolution(history.T)).T

    def _between(self, before: Array, now: Array, t_before: Scalar, t: Scalar) -> Array:
        state = State(jnp.zeros((0,), before.dtype), before, t_before)
        return self.drive.step(state, now, t)[0]


def _packed(xs: Observations, mask: Mask | None) -> Observations:
    """Moves the valid steps to the front; after them comes the last valid one, repeated."""
    if mask is None:
        return xs
    order = jnp.argsort(~mask, stable=True)
    last = jnp.maximum(jnp.sum(mask) - 1, 0)
    return xs[order[jnp.minimum(jnp.arange(mask.shape[0]), last)]]


class CausalConvolution(AbstractConvolutionDrive):
    """Embeds the observations by a causal convolution, before the recurrence (arXiv
    2506.01153).

    The embedding of step t sees `x_{t-width+1} ... x_t` and nothing later; the memory that
    streaming keeps is that window.
    """

    convolution: eqx.nn.Conv1d
    activation: Callable
    drive: AbstractPairwiseDrive

    def __init__(
        self,
        input_size: int,
        channels: int,
        width: int,
        *,
        drive: AbstractPairwiseDrive = Increments(),
        activation: Callable = jnn.silu,
        key: Key,
    ):
        """**Arguments:**

        - `input_size`: channels of an observation.
        - `channels`: channels of the embedding.
        - `width`: how many observations the convolution sees.
        - `drive`: turns an embedding and the one before it into the drive, as `Values()`;
            by default `Increments()`.
        - `activation`: acts on the embedding; by default SiLU.
        - `key`: for the convolution's initial weights.

        **Raises:** `TypeError` for a size that is no whole number or a drive that looks
        further back, `ValueError` for a size below 1.
        """
        self.convolution = _convolution(
            "CausalConvolution", input_size, channels, width, key
        )
        self.activation = activation
        self.drive = _pairwise("CausalConvolution", drive)

    def init(self, x: Observation) -> PyTree:
        return jnp.tile(x, (self.convolution.kernel_size[0], 1))

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        history = jnp.concatenate([state.memory, x[None]])
        before, now = self._embed(history)
        return self._between(before, now, state.t, t), history[1:]

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
        history = jnp.concatenate([state.memory, _packed(xs, mask)])
        ts = hold(ts, mask, state.t)
        embedded = self._embed(history)
        seen = _count(mask, xs.shape[0])
        before = jnp.concatenate([jnp.zeros_like(seen[:1]), seen[:-1]])
        drive = jax.vmap(self._between)(
            embedded[before], embedded[seen], previous(state.t, ts, None), ts
        )
        width = state.memory.shape[0]
        return drive, lax.dynamic_slice_in_dim(history, seen[-1], width)


class NoncausalConvolution(AbstractConvolutionDrive):
    """Embeds the observations by a centred convolution, which **sees the future**.

    For tasks that read a whole sequence, such as classification. It cannot stream, and
    `forecast` and `unroll` refuse it.
    """

    convolution: eqx.nn.Conv1d
    activation: Callable
    drive: AbstractPairwiseDrive

    def __init__(
        self,
        input_size: int,
        channels: int,
        width: int,
        *,
        drive: AbstractPairwiseDrive = Increments(),
        activation: Callable = jnn.silu,
        key: Key,
    ):
        """**Arguments:** those of `CausalConvolution`; `width` must be odd.

        **Raises:** as `CausalConvolution`, `TypeError` or `ValueError`; `ValueError` for an
        even `width`.
        """
        self.convolution = _convolution(
            "NoncausalConvolution", input_size, channels, width, key
        )
        if width % 2 == 0:
            raise ValueError(
                f"`NoncausalConvolution` needs an odd `width`; got width={width}."
            )
        self.activation = activation
        self.drive = _pairwise("NoncausalConvolution", drive)

    def init(self, x: Observation) -> PyTree:
        # Says that the sequence is new; a state at a sequence's end has no memory.
        return x[:0]

    def step(self, state: State, x: Observation, t: Scalar) -> tuple[Array, PyTree]:
        raise ValueError(
            "`NoncausalConvolution` sees the future, so it cannot stream or forecast. "
            "Use `CausalConvolution`."
        )

    def __call__(
        self,
        state: State,
        xs: Observations,
        ts: Times,
        mask: Mask | None,
        reset: Mask | None = None,
    ) -> tuple[Float[Array, "t c"], PyTree]:
        if state.memory is None or reset is not None:
            raise ValueError(
                "`NoncausalConvolution` sees a sequence whole, so it cannot continue from "
                "a `State`, nor reset. Use `CausalConvolution`."
            )
        packed, ts = _packed(xs, mask), hold(ts, mask, state.t)
        half = self.convolution.kernel_size[0] // 2
        ends = jnp.repeat(packed[:1], half, 0), jnp.repeat(packed[-1:], half, 0)
        embedded = self._embed(jnp.concatenate([ends[0], packed, ends[1]]))
        now = jnp.maximum(_count(mask, xs.shape[0]) - 1, 0)
        before = jnp.concatenate([now[:1], now[:-1]])
        drive = jax.vmap(self._between)(
            embedded[before], embedded[now], previous(state.t, ts, None), ts
        )
        return drive, None


def _pairwise(name: str, drive) -> AbstractPairwiseDrive:
    if not isinstance(drive, AbstractPairwiseDrive):
        raise TypeError(
            f"`{name}(..., drive)` needs a drive of two embeddings in a row, as "
            f"`Increments()` or `Values()`; got {type(drive).__name__}. Put others around "
            "or beside it: `Elapsed`, `JoinedDrive`."
        )
    return drive


def _count(mask: Mask | None, length: int) -> Int[Array, " t"]:
    """Returns how many valid steps there are up to each step, itself included."""
    return jnp.arange(1, length + 1) if mask is None else jnp.cumsum(mask)


def _convolution(
    name: str, input_size: int, channels: int, width: int, key: Key
) -> eqx.nn.Conv1d:
    call = f"{name}(input_size, channels, width)"
    return eqx.nn.Conv1d(
        check_integer(call, "input_size", input_size, 1),
        check_integer(call, "channels", channels, 1),
        check_integer(call, "width", width, 1),
        key=key,
    )
