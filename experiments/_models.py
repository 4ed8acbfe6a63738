"""number of parameters -> rivals of about that many: what forecasts of systems compare."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.random as jr
from jaxtyping import Array, Float

import warp_jax as wj

from .baselines import GRU, LRU, LSTM, Model, neural_ode, Recurrent, recurrent, Transformer


class Residual(wj.AbstractDecoder):
    """The latest observation, plus `scale` times what another decoder reads: a model that
    says nothing yet predicts that nothing changes.
    """

    decoder: wj.AbstractDecoder
    scale: float = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: wj.AbstractDecoder, scale: float):
        """**Arguments:**

        - `decoder`: of as many outputs as are predicted, the first channels.
        - `scale`: of the changes, about their root mean square.
        """
        self.decoder = decoder
        self.scale = float(scale)
        self.state_size = decoder.state_size
        self.out_size = decoder.out_size

    def __call__(
        self, state: wj.State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        change = self.decoder(state, coordinate)
        return state.x[: self.out_size] + self.scale * change

    def spanned(self, span: wj.Span) -> wj.AbstractDecoder:
        return Residual(self.decoder.spanned(span), self.scale)

    @property
    def footprint(self) -> int:
        return self.decoder.footprint


def count(model: Any) -> int:
    """Returns how many trained numbers a model has."""
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return sum(math.prod(leaf.shape) for leaf in leaves)


def sized(make: Callable[[int], Model], parameters: int) -> Model:
    """Returns `make(size)` with the size that gives the nearest number of parameters."""
    def off(size: int) -> int:
        return count(eqx.filter_eval_shape(lambda: make(size))) - parameters

    high = 1
    while off(high) < 0:
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return make(min((low, high), key=lambda size: abs(off(size))))


def warp(
    inputs: int,
    outputs: int,
    *,
    length: int,
    scale: float,
    width: int = 16,
    depth: int = 2,
    rank: int = 16,
    cycles: float = 3.0,
    key: Any,
) -> wj.WARP:
    """Returns a WARP that sees the latest observation and predicts the change from it."""
    network_key, transition_key, initial_key = jr.split(key, 3)
    network = eqx.nn.MLP(1 + inputs, outputs, width, depth, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network, observe=True)
    size = decoder.state_size
    return wj.WARP(
        decoder=Residual(decoder, scale),
        transition=wj.LowRankTransition(
            size, inputs, rank, length=length, cycles=cycles, key=transition_key
        ),
        initial=wj.Hypernetwork(
            inputs, size, 1, width=8, theta=decoder.flatten(network), key=initial_key
        ),
    )


def rivals(
    inputs: int,
    outputs: int,
    *,
    length: int,
    scale: float,
    parameters: int,
    key: Any,
) -> dict[str, Recurrent]:
    """Returns the baselines, each of about `parameters`, that predict changes likewise."""
    keys = jr.split(key, 5)

    def residual(head):
        return Residual(head, scale)

    def headed(cell, key):
        return recurrent(cell, outputs, cell.hidden_size, wrap=residual, key=key)

    def make(cell_type):
        return lambda key: lambda size: headed(cell_type(size, key), key)

    makers = {
        "GRU": lambda size, key: headed(GRU(inputs, size, key=key), key),
        "LSTM": lambda size, key: headed(LSTM(inputs, size, key=key), key),
        "Transformer": lambda size, key: headed(
            Transformer(inputs, 4 * size, window=length, key=key), key
        ),
        "LRU": lambda size, key: headed(LRU(inputs, size, key=key), key),
        "neural ODE": lambda size, key: neural_ode(
            inputs, size, outputs, 2 * size, rate=scale * length, key=key
        ),
    }
    return {
        name: sized(lambda size: maker(size, key), parameters)
        for (name, maker), key in zip(makers.items(), keys)
    }
