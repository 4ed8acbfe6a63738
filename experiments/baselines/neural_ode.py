"""Neural ordinary differential equation (Chen et al. 2018, arXiv 1806.07366)."""

from typing import Any

import diffrax
import equinox as eqx
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

import warp_jax as wj

from .gru import GRU
from .recurrent import Recurrent


# Bounded slopes: a forecast cannot run out of the finite numbers.
LIMIT = 5.0


class NeuralODEDecoder(wj.AbstractDecoder):
    r"""Carries the latest observation on to the time asked for:

    $dy/ds = 5 \cdot \text{rate} \cdot \tanh(g(y, u, h) / 5)$ from $y(t) = y_t$, with a
    network $g$, inputs $u$ that are given beside the outputs, and a context $h$ that holds
    still in between. Each reading is one step of `solver`.
    """

    network: eqx.nn.MLP
    solver: diffrax.AbstractSolver
    rate: float = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        context_size: int,
        out_size: int,
        width: int,
        *,
        rate: float = 1.0,
        solver: diffrax.AbstractSolver = diffrax.Heun(),
        key: Any,
    ):
        """**Arguments:**

        - `input_size`, `out_size`: channels of an observation, of which the first
            `out_size` are predicted.
        - `context_size`: of the state.
        - `width`: of the network's two hidden layers.
        - `rate`: the time scale, per unit of time: steps of a sequence over [0, 1] have
            one of about `1 / length`, in which an observation changes by less than one.
        - `solver`: explicit, of a fixed step.
        """
        size = input_size + context_size
        self.network = eqx.nn.MLP(size, out_size, width, 2, jnn.silu, key=key)
        self.solver = solver
        self.rate = rate
        self.state_size = context_size
        self.out_size = out_size

    def __call__(
        self, state: wj.State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        # Over [0, 1] in place of [t, time], so that times are no part of the control flow.
        ahead = self.rate * (coordinate[0] - state.t)
        rest = jnp.concatenate([state.x[self.out_size :], state.theta])

        def field(t, y, args):
            slope = self.network(jnp.concatenate([y, rest]))
            return ahead * LIMIT * jnp.tanh(slope / LIMIT)

        start, stop = jnp.zeros(()), jnp.ones(())
        term = diffrax.ODETerm(field)
        y = state.x[: self.out_size]
        solver_state = self.solver.init(term, start, stop, y, None)
        y, *_ = self.solver.step(term, start, stop, y, None, solver_state, False)
        return y


def neural_ode(
    input_size: int,
    context_size: int,
    out_size: int,
    width: int,
    *,
    rate: float = 1.0,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    key: Any,
) -> Recurrent:
    """Returns a neural ODE whose context is what a GRU makes of all observations."""
    cell_key, field_key = jr.split(key)
    cell = GRU(input_size, context_size, key=cell_key)
    decoder = NeuralODEDecoder(
        input_size, context_size, out_size, width, rate=rate, key=field_key
    )
    return Recurrent(cell, decoder, coordinates)
