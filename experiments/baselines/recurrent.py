"""A cell, rolled and read like a WARP: so that the cell is what differs."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.nn as jnn
import jax.numpy as jnp
from jaxtyping import Array, Float

import warp_jax as wj


class AbstractCell(eqx.Module):
    """One step of a recurrence with a fixed-size hidden vector."""

    hidden_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self) -> Float[Array, " h"]:
        """Returns the hidden vector before the first observation."""

    @abc.abstractmethod
    def __call__(
        self, hidden: Float[Array, " h"], x: Float[Array, " d"]
    ) -> Float[Array, " h"]:
        """Returns the hidden vector after the observation `x`, `(input,)`."""


class HeadDecoder(wj.AbstractDecoder):
    """A perceptron of the hidden vector and the coordinate: what WARP's state is itself."""

    network: eqx.nn.MLP
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        hidden_size: int,
        coordinate_size: int,
        out_size: int,
        width: int,
        *,
        key: Any,
    ):
        in_size = hidden_size + coordinate_size
        self.network = eqx.nn.MLP(in_size, out_size, width, 1, jnn.silu, key=key)
        self.state_size = hidden_size
        self.out_size = out_size

    def __call__(self, state: wj.State, coordinate: Float[Array, " q"]) -> Any:
        return self.network(jnp.concatenate([state.theta, coordinate]))


class Recurrent(wj.AbstractModel):
    """A cell with a decoder. The state's `theta` is the cell's hidden vector."""

    cell: AbstractCell
    decoder: wj.AbstractDecoder
    coordinates: wj.AbstractCoordinates

    def __call__(
        self, xs, ts=None, queries=None, mask=None, *, state=None, key=None
    ) -> Any:
        ts = _times(xs, ts)
        states = self._states(xs, ts, mask, state)
        return jax.vmap(self.read)(states, ts if queries is None else queries)

    def final(self, xs, ts=None, *, mask=None, state=None, key=None) -> wj.State:
        states = self._states(xs, _times(xs, ts), mask, state)
        return jax.tree.map(lambda array: array[-1], states)

    def init(self, x, t=0.0, *, key=None) -> wj.State:
        return wj.State(self.cell(self.cell.init(), x), x, jnp.asarray(t, x.dtype))

    def step(self, state, x, t) -> wj.State:
        return wj.State(self.cell(state.theta, x), x, jnp.asarray(t, x.dtype))

    def read(self, state, time) -> Any:
        return self.decoder(state, self.coordinates(jnp.asarray(time, state.x.dtype)))

    def _states(self, xs, ts, mask, state) -> wj.State:
        """Returns the state after every step, with a leading axis of time."""
        if state is None:
            state = wj.State(self.cell.init(), xs[0], ts[0])
        mask = jnp.ones(len(xs), bool) if mask is None else mask

        def step(state, inputs):
            x, t, valid = inputs
            after = self.step(state, x, t)
            after = jax.tree.map(
                lambda new, old: jnp.where(valid, new, old), after, state
            )
            return after, after

        return lax.scan(step, state, (xs, ts, mask))[1]


def recurrent(
    cell: AbstractCell,
    out_size: int,
    width: int,
    *,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    wrap: Callable[[wj.AbstractDecoder], wj.AbstractDecoder] = lambda head: head,
    key: Any,
) -> Recurrent:
    """Returns the cell with a perceptron of `width` for its head, which `wrap` may turn
    into another decoder, read at the coordinates that WARP is read at.
    """
    head = HeadDecoder(cell.hidden_size, coordinates.out_size, out_size, width, key=key)
    return Recurrent(cell, wrap(head), coordinates)


# What an experiment trains.
Model = wj.WARP | Recurrent


def _times(xs, ts):
    return jnp.linspace(0, 1, len(xs), dtype=xs.dtype) if ts is None else ts
