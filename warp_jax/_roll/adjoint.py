"""A scan whose gradient in the transition is one product, not a sum over the steps.

The backward pass of a scan adds to the gradient of A at every step: for a dense A that is
a small product, and all of A read and written again. Here the scan's backward pass makes
the cotangents of the states alone, and the gradient of A follows from all of them at once.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import Mask, Weights
from .base import moved


# (parameters, state, input) -> the next state, affine in the state.
Step = Callable[[PyTree, Weights, Array], Weights]


def states_by_adjoint(
    step: Step,
    parameters: PyTree,
    theta: Weights,
    inputs: Float[Array, "t c"],
    moves: Mask | None,
) -> Float[Array, "t p"]:
    """Returns the state after each step, of shape `(time, state)`.

    **Arguments:**

    - `step`: a step; closes over nothing that is differentiated.
    - `parameters`: what it depends on, as a transition.
    - `theta`, `inputs`, `moves`: those of a roll.
    """
    fixed, start = _stopped(parameters), lax.stop_gradient(theta)

    def move(theta, inputs):
        theta = moved(functools.partial(step, fixed), theta, *inputs)
        return theta, theta

    states = lax.scan(move, start, (lax.stop_gradient(inputs), moves))[1]
    before = jnp.concatenate([start[None], states[:-1]])
    # Has the value of `states`, which nobody needs; what counts is its derivative.
    steps = jax.vmap(lambda *step_inputs: step(parameters, *step_inputs))(
        before, inputs
    )
    arrays, rest = eqx.partition(fixed, eqx.is_array)
    return _attach(step, rest, arrays, states, steps, theta, inputs, moves)


def _stopped(parameters: PyTree) -> PyTree:
    weights, rest = eqx.partition(parameters, eqx.is_inexact_array)
    return eqx.combine(lax.stop_gradient(weights), rest)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attach(step, rest, arrays, states, steps, theta, inputs, moves):
    """Returns `states`, as a function of what each step gives and of the first state."""
    return states


def _forward(step, rest, arrays, states, steps, theta, inputs, moves):
    return states, (arrays, theta, inputs, moves)


def _backward(step, rest, residuals, slopes):
    arrays, theta, inputs, moves = residuals
    parameters = eqx.combine(arrays, rest)
    # A step is affine in the state: at which input its derivative is taken is the same.
    _, pull = jax.vjp(lambda theta: step(parameters, theta, inputs[0]), theta)

    def back(slope, step_slopes):
        own, moves = step_slopes
        slope = slope + own
        through = pull(slope)[0]
        if moves is None:
            return through, slope
        return jnp.where(moves, through, slope), jnp.where(moves, slope, 0)

    start = jnp.zeros_like(theta)
    first, of_steps = lax.scan(back, start, (slopes, moves), reverse=True)
    return None, None, of_steps, first, None, None


_attach.defvjp(_forward, _backward)
