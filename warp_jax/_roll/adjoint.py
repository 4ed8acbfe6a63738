"""A roll whose gradient in the transition is one product, not a sum over the steps.

The backward pass of a scan adds to the gradient of A at every step: for a dense A that is
a small product, and all of A read and written again. Here the scan's backward pass makes
the cotangents of the states alone, and the gradient of A follows from all of them at once.
"""

import functools

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._transition import AbstractTransition
from .._types import Mask, Weights


def states_by_adjoint(
    transition: AbstractTransition,
    theta: Weights,
    dxs: Float[Array, "t c"],
    moves: Mask | None,
) -> Float[Array, "t p"]:
    """Returns the state after each step, of shape `(time, state)`.

    **Arguments:** those of a roll.
    """
    fixed, start = _stopped(transition), lax.stop_gradient(theta)
    inputs = jax.vmap(fixed.inject)(lax.stop_gradient(dxs))
    states = _scan(fixed, start, inputs, moves)
    before = jnp.concatenate([start[None], states[:-1]])
    # Has the value of `states`, which nobody needs; what counts is its derivative.
    steps = jax.vmap(transition.step)(before, dxs)
    arrays, rest = eqx.partition(fixed, eqx.is_array)
    return _attach(rest, arrays, states, steps, theta, moves)


def _stopped(transition: AbstractTransition) -> AbstractTransition:
    weights, rest = eqx.partition(transition, eqx.is_inexact_array)
    return eqx.combine(lax.stop_gradient(weights), rest)


def _scan(transition, theta, inputs, moves):
    def move(theta, step):
        u, moves = step
        after = transition.apply(theta) + u
        theta = after if moves is None else jnp.where(moves, after, theta)
        return theta, theta

    return lax.scan(move, theta, (inputs, moves))[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach(rest, arrays, states, steps, theta, moves):
    """Returns `states`, as a function of what each step gives and of the first state."""
    return states


def _forward(rest, arrays, states, steps, theta, moves):
    return states, (arrays, theta, moves)


def _backward(rest, residuals, slopes):
    arrays, theta, moves = residuals
    transition = eqx.combine(arrays, rest)
    _, pull = jax.vjp(transition.apply, theta)

    def back(slope, step):
        own, moves = step
        slope = slope + own
        through = pull(slope)[0]
        if moves is None:
            return through, slope
        return jnp.where(moves, through, slope), jnp.where(moves, slope, 0)

    start = jnp.zeros_like(theta)
    first, of_steps = lax.scan(back, start, (slopes, moves), reverse=True)
    return None, None, of_steps, first, None


_attach.defvjp(_forward, _backward)
