"""sizes -> WARPs, with laws and without, and rivals of about as many parameters: what
forecasts of systems compare.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

import warp_jax as wj

from .baselines import (
    GRU,
    LRU,
    LSTM,
    Model,
    neural_ode,
    recurrent,
    Transformer,
)


class Bounded(eqx.Module):
    """`scale * limit * tanh(y / limit)`: changes of about `scale`, and none that lets a
    forecast run out of the finite numbers.
    """

    scale: float = eqx.field(static=True)
    limit: float = eqx.field(static=True, default=5.0)

    def __call__(self, y: Float[Array, " y"]) -> Float[Array, " y"]:
        return self.scale * self.limit * jnp.tanh(y / self.limit)


class Latest(eqx.Module):
    """The first `size` channels of an observation: what is predicted if nothing changes."""

    size: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " y"]:
        return x[: self.size]


def residual(decoder: wj.AbstractDecoder, scale: float) -> wj.SkipDecoder:
    """Returns a decoder of the latest observation plus `scale` times what another one
    reads: about the root mean square of a change from step to step.
    """
    change = wj.ActivatedDecoder(decoder, Bounded(scale))
    return wj.SkipDecoder(change, Latest(decoder.out_size))


M = TypeVar("M")


def sized(make: Callable[[int], M], parameters: int) -> M:
    """Returns `make(size)` with the size that gives the nearest number of parameters."""

    def off(size: int) -> int:
        arrays = jax.tree.leaves(eqx.filter_eval_shape(lambda: make(size)))
        arrays = [a for a in arrays if isinstance(a, jax.ShapeDtypeStruct)]
        floats = [a for a in arrays if jnp.issubdtype(a.dtype, jnp.inexact)]
        return sum(math.prod(a.shape) for a in floats) - parameters

    high = 1
    while off(high) < 0:
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return make(min((low, high), key=lambda size: abs(off(size))))


class Still(wj.AbstractCoordinates):
    """Zero at any time: for systems whose law does not change, and streams without end."""

    out_size: int = eqx.field(static=True, default=1)

    def __call__(self, time: Float[Array, ""]) -> Float[Array, " q"]:
        return jnp.zeros(1, time.dtype)


class Unmoved(wj.AbstractTransition):
    """`theta_t = theta_0`: the state keeps what the first observation made of it."""

    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def apply(self, theta: Float[Array, " p"]) -> Float[Array, " p"]:
        return theta

    def inject(self, dx: Float[Array, " c"]) -> Float[Array, " p"]:
        return jnp.zeros(self.state_size, dx.dtype)

    def matrix(self) -> Float[Array, "p p"]:
        return jnp.eye(self.state_size)

    def input_matrix(self) -> Float[Array, "p c"]:
        return jnp.zeros((self.state_size, self.input_size))


def held(model: wj.WARP) -> wj.WARP:
    """Returns a model whose state no observation moves. A law's parameters are then those
    that it began with: a recurrence can bend a wrong law as it goes.
    """
    size, inputs = model.transition.state_size, model.transition.input_size
    return eqx.tree_at(lambda m: m.transition, model, Unmoved(size, inputs))


# State size, input size, length and key -> A and B.
Transition = Callable[[int, int, int, Any], wj.AbstractTransition]


def low_rank(
    size: int,
    inputs: int,
    length: int,
    key: Any,
    *,
    rank: int = 16,
    cycles: float = 3.0,
) -> wj.AbstractTransition:
    """Identity plus low rank."""
    return wj.LowRankTransition(
        size, inputs, rank, length=length, cycles=cycles, key=key
    )


def subspace(
    size: int,
    inputs: int,
    length: int,
    key: Any,
    *,
    modes: int = 16,
    cycles: float = 3.0,
) -> wj.AbstractTransition:
    """Damped oscillations in a subspace: stable, whatever is learnt and however long."""
    mode_key, map_key = jr.split(key)
    dynamics = wj.SpectralTransition(
        2 * modes, inputs, length=length, cycles=cycles, key=mode_key
    )
    return wj.SubspaceTransition(size, dynamics, key=map_key)


def warp(
    inputs: int,
    outputs: int,
    *,
    length: int,
    scale: float,
    width: int = 16,
    depth: int = 2,
    transition: Transition = low_rank,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    key: Any,
) -> wj.WARP:
    """Returns a WARP that sees the latest observation and predicts the change from it."""
    network_key, transition_key, initial_key = jr.split(key, 3)
    network = eqx.nn.MLP(1 + inputs, outputs, width, depth, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network, observe=True)
    size = decoder.state_size
    return wj.WARP(
        decoder=residual(decoder, scale),
        transition=transition(size, inputs, length, transition_key),
        initial=wj.Hypernetwork(
            inputs, size, 1, width=8, theta=decoder.flatten(network), key=initial_key
        ),
        coordinates=coordinates,
    )


def published(
    inputs: int,
    outputs: int,
    *,
    width: int,
    depth: int,
    decode: Callable[[Any], wj.AbstractDecoder] = wj.NetworkDecoder,
    hyper: int | None = 2,
    drive: wj.Increments = wj.Increments(),
    key: Any,
) -> wj.WARP:
    """Returns a WARP as the paper has it (arXiv 2506.01153): a dense A from the identity, B
    from zero, a network of the time alone. Its parameters are as many as the square of the
    network's, and more.

    - `decode`: makes the decoder of the network, with the paper's final activation.
    - `hyper`: hidden layers of the hypernetwork; `None` learns the initial state.
    """
    network_key, initial_key = jr.split(key)
    network = eqx.nn.MLP(1, outputs, width, depth, jnn.silu, key=network_key)
    theta = wj.NetworkDecoder(network).flatten(network)
    size = theta.size
    return wj.WARP(
        decoder=decode(network),
        transition=wj.DenseTransition(size, inputs + drive.time_channel),
        initial=wj.LearntInitial(theta)
        if hyper is None
        else wj.Hypernetwork(inputs, size, hyper, theta=theta, key=initial_key),
        drive=drive,
    )


class Turns(wj.AbstractPairs):
    """What least squares would regress for a law that is linear in the observations: the
    change against the middle of a step, both relative to the middle's length, so that a
    motion counts alike when it has died down.

    - `scale`: the change's usual size, relative to an observation's.
    """

    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(self, channels: int, scale: float):
        self.in_size = self.out_size = channels
        self.scale = scale

    def __call__(
        self, before: Float[Array, " c"], now: Float[Array, " c"]
    ) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
        middle = (before + now) / 2
        # At rest nothing turns, and the gradient of the length must stay finite.
        unit = 1 / jnp.sqrt(middle @ middle + 1e-8)
        return unit * middle, unit / self.scale * (now - before)


class ScaledIncrements(wj.Increments):
    """Increments in a unit in which they are of the order of one."""

    scale: float = eqx.field(static=True, default=1.0)

    def combine(self, before: Array, now: Array) -> Array:
        return super().combine(before, now) / self.scale


def law(
    make: Callable[[Any], wj.AbstractDecoder],
    drive: wj.AbstractDrive,
    *,
    channels: int,
    numbers: int,
    length: int,
    width: int = 19,
    depth: int = 2,
    key: Any,
) -> wj.WARP:
    """Returns a WARP that ends in a law.

    - `make`: the law's decoder, of a network with `numbers` outputs. With the ratio of two
        of its numbers it can divide them, as a solution of least squares does.
    - `drive`: in units in which it is of the order of one.
    """
    network_key, transition_key = jr.split(key)
    network = eqx.nn.MLP(1, numbers, width, depth, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    inputs = drive.size(channels)
    return wj.WARP(
        decoder=make(decoder),
        transition=low_rank(decoder.state_size, inputs, length, transition_key),
        initial=wj.LearntInitial(decoder.flatten(network)),
        drive=drive,
    )


def rivals(
    inputs: int,
    outputs: int,
    *,
    length: int,
    scale: float,
    parameters: int,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    step: float | None = None,
    key: Any,
) -> dict[str, Model]:
    """Returns the baselines, each of about `parameters`, that predict changes likewise.

    - `step`: time between observations, for the neural ODE; by default `1 / (length - 1)`.
    """
    keys = jr.split(key, 5)
    rate = scale / (1 / (length - 1) if step is None else step)

    def headed(cell, key):
        wrap = functools.partial(residual, scale=scale)
        return recurrent(
            cell,
            outputs,
            cell.hidden_size,
            coordinates=coordinates,
            wrap=wrap,
            key=key,
        )

    makers = {
        "GRU": lambda size, key: headed(GRU(inputs, size, key=key), key),
        "LSTM": lambda size, key: headed(LSTM(inputs, size, key=key), key),
        "Transformer": lambda size, key: headed(
            Transformer(inputs, 2 * size, heads=2, window=length, key=key), key
        ),
        "LRU": lambda size, key: headed(LRU(inputs, size, key=key), key),
        "neural ODE": lambda size, key: neural_ode(
            inputs, size, outputs, 2 * size, rate=rate, key=key
        ),
    }
    return {
        name: sized(functools.partial(maker, key=key), parameters)
        for (name, maker), key in zip(makers.items(), keys)
    }
