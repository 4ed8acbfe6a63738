"""A cell, rolled and read like a WARP: so that the cell is what differs."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.nn as jnn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

import warp_jax as wj


class AbstractCell(eqx.Module):
    """One step of a recurrence with a carry of fixed size."""

    hidden_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self) -> PyTree[Array]:
        """Returns the carry before the first observation."""

    @abc.abstractmethod
    def __call__(self, carry: PyTree[Array], x: Float[Array, " d"]) -> PyTree[Array]:
        """Returns the carry after the observation `x`, `(input,)`."""

    def hidden(self, carry: PyTree[Array]) -> Float[Array, " h"]:
        """Returns what is read of a carry, `(hidden_size,)`; by default all of it."""
        return carry

    def mode_of(self) -> Int[np.ndarray, " h"]:
        """Returns to which mode each number of the hidden vector belongs, from 0; by
        default each is its own.
        """
        return np.arange(self.hidden_size)

    def roll(
        self,
        carry: PyTree[Array] | None,
        xs: Float[Array, "t d"],
        mask: Bool[Array, " t"],
    ) -> tuple[Float[Array, "t h"], PyTree[Array]]:
        """Returns what is read after every step, and the carry after the last one.

        - `carry`: to go on from; `None` at the first observation.
        - `mask`: `(time,)`; where False the step changes nothing.
        """

        def step(carry, inputs):
            x, valid = inputs
            after = jax.tree.map(
                lambda new, old: jnp.where(valid, new, old), self(carry, x), carry
            )
            return after, self.hidden(after)

        carry, hidden = lax.scan(
            step, self.init() if carry is None else carry, (xs, mask)
        )
        return hidden, carry

    def last(self, xs: Float[Array, "t d"]) -> Float[Array, " h"]:
        """Returns what is read after the last step alone, holding no other."""
        carry, _ = lax.scan(lambda carry, x: (self(carry, x), None), self.init(), xs)
        return self.hidden(carry)


class AbstractScanned(AbstractCell):
    """A cell whose step is cheap but for what does not recur: `enter` and `leave` are taken
    of all steps at once, as matrix products, and `advance` alone of one after another.

    The carry is the state and what was read of it last. On one processor core this was two
    to five times as fast as an associative scan, of 9 to 784 steps and 32 sequences.
    """

    @abc.abstractmethod
    def start(self) -> PyTree[Array]:
        """Returns the state before the first observation."""

    @abc.abstractmethod
    def gain(self) -> PyTree[Array]:
        """Returns what every step multiplies by; `None` where no such thing is shared."""

    @abc.abstractmethod
    def enter(self, x: Float[Array, " d"]) -> PyTree[Array]:
        """Returns what a step adds, and whatever else depends on `x`, `(input,)`, alone."""

    @abc.abstractmethod
    def advance(
        self, gain: PyTree[Array], state: PyTree[Array], entered: PyTree[Array]
    ) -> PyTree[Array]:
        """Returns the state after a step."""

    @abc.abstractmethod
    def leave(self, state: PyTree[Array], entered: PyTree[Array]) -> Float[Array, " h"]:
        """Returns what is read of the state after a step, `(hidden_size,)`."""

    def init(self) -> PyTree[Array]:
        return self.start(), jnp.zeros(self.hidden_size)

    def __call__(self, carry: PyTree[Array], x: Float[Array, " d"]) -> PyTree[Array]:
        entered = self.enter(x)
        state = self.advance(self.gain(), carry[0], entered)
        return state, self.leave(state, entered)

    def hidden(self, carry: PyTree[Array]) -> Float[Array, " h"]:
        return carry[1]

    def roll(self, carry, xs, mask):
        state, before = self.init() if carry is None else carry
        entered, gain = jax.vmap(self.enter)(xs), self.gain()

        def step(state, inputs):
            entered, valid = inputs
            after = self.advance(gain, state, entered)
            state = jax.tree.map(
                lambda new, old: jnp.where(valid, new, old), after, state
            )
            return state, state

        state, states = lax.scan(step, state, (entered, mask))
        hidden = held(jax.vmap(self.leave)(states, entered), before, mask)
        return hidden, (state, hidden[-1])

    def last(self, xs: Float[Array, "t d"]) -> Float[Array, " h"]:
        entered, gain = jax.vmap(self.enter)(xs), self.gain()
        state, _ = lax.scan(
            lambda state, entered: (self.advance(gain, state, entered), None),
            self.start(),
            entered,
        )
        return self.leave(state, jax.tree.map(lambda array: array[-1], entered))


def paired(modes: int) -> Int[np.ndarray, " h"]:
    """Returns the `AbstractCell.mode_of` of two numbers of every mode, the first ones
    before all second ones.
    """
    return np.tile(np.arange(modes), 2)


# What turns a decoder into another one.
Wrap = Callable[[wj.AbstractDecoder], wj.AbstractDecoder]


def unwrapped(decoder: wj.AbstractDecoder) -> wj.AbstractDecoder:
    """Returns the decoder as it is."""
    return decoder


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
    """A cell with a decoder. The state's `theta` is what is read of the cell, and its
    `hidden` the cell's carry.
    """

    cell: AbstractCell
    decoder: wj.AbstractDecoder
    coordinates: wj.AbstractCoordinates

    @property
    def state_size(self) -> int:
        """How many real numbers the cell carries."""
        carry = jax.tree.leaves(eqx.filter_eval_shape(self.cell.init))
        return sum(leaf.size * (1 + jnp.iscomplexobj(leaf)) for leaf in carry)

    def __call__(
        self, xs, ts=None, queries=None, mask=None, *, state=None, key=None
    ) -> Any:
        ts = _times(xs, ts)
        states = self._roll(xs, ts, mask, state)[0]
        return jax.vmap(self.read)(states, ts if queries is None else queries)

    def final(self, xs, ts=None, *, mask=None, state=None, key=None) -> wj.State:
        states, carry = self._roll(xs, _times(xs, ts), mask, state)
        last = jax.tree.map(lambda array: array[-1], states)
        return wj.State(last.theta, last.x, last.t, hidden=carry)

    def init(self, x, t=0.0, *, key=None) -> wj.State:
        return self._after(self.cell(self.cell.init(), x), x, t)

    def step(self, state, x, t) -> wj.State:
        return self._after(self.cell(state.hidden, x), x, t)

    def read(self, state, time) -> Any:
        return self.decoder(state, self.coordinates(jnp.asarray(time, state.x.dtype)))

    def _inputs(self, xs, ts, mask, state) -> Float[Array, "t d"]:
        """Returns what the cell is given at each step."""
        return xs

    def _after(self, carry, x, t) -> wj.State:
        theta = self.cell.hidden(carry)
        return wj.State(theta, x, jnp.asarray(t, x.dtype), hidden=carry)

    def _roll(self, xs, ts, mask, state) -> tuple[wj.State, PyTree[Array]]:
        """Returns the state after every step, with a leading axis of time and without a
        carry, and the last carry.
        """
        mask = jnp.ones(len(xs), bool) if mask is None else mask
        carry = None if state is None else state.hidden
        hidden, carry = self.cell.roll(carry, self._inputs(xs, ts, mask, state), mask)
        # The latest valid observation; before any, the first or the one that went before.
        before = (xs[0], ts[0]) if state is None else (state.x, state.t)
        x, t = held((xs, ts), before, mask)
        return wj.State(hidden, x, t), carry


def recurrent(
    cell: AbstractCell,
    out_size: int,
    width: int,
    *,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    wrap: Wrap = unwrapped,
    key: Any,
) -> Recurrent:
    """Returns the cell with a perceptron of `width` for its head, which `wrap` may turn
    into another decoder, read at the coordinates that WARP is read at.
    """
    head = HeadDecoder(cell.hidden_size, coordinates.out_size, out_size, width, key=key)
    return Recurrent(cell, wrap(head), coordinates)


def held(
    arrays: PyTree[Array], before: PyTree[Array], mask: Bool[Array, " t"]
) -> PyTree[Array]:
    """Returns arrays with a leading axis of time in which padding repeats the latest valid
    step, or `before` where none is.
    """
    latest = lax.cummax(jnp.where(mask, jnp.arange(len(mask)), -1))

    def hold(new, old):
        some = (latest >= 0).reshape(-1, *[1] * old.ndim)
        return jnp.where(some, new[latest], old[None])

    return jax.tree.map(hold, arrays, before)


# What an experiment trains.
Model = wj.WARP | Recurrent


def _times(xs, ts):
    return jnp.linspace(0, 1, len(xs), dtype=xs.dtype) if ts is None else ts
