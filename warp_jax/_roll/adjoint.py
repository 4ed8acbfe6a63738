"""A scan whose gradient in the transition is one product, not a sum over the steps.

The backward pass of a scan adds to the gradient of A at every step: for a dense A that is
a small product, and all of A read and written again. Here the scan's backward pass makes
the cotangents of the states alone, and the gradient of A follows from all of them at once.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import Mask, Weights
from .base import Fresh, moved


# (parameters, state, input) -> the next state.
Step = Callable[[PyTree, PyTree, PyTree], PyTree]
# (state, input) -> the next state.
Move = Callable[[PyTree, PyTree], PyTree]


def states_by_adjoint(
    step: Step,
    parameters: PyTree,
    held: PyTree,
    theta: Weights,
    inputs: Float[Array, "t c"],
    moves: Mask | None,
    fresh: Fresh | None = None,
) -> Float[Array, "t p"]:
    """Returns the state after each step, of shape `(time, state)`.

    **Arguments:**

    - `step`: a step; closes over nothing that is differentiated.
    - `parameters`: what it depends on, as a transition.
    - `held`: the same where no gradient is asked for.
    - `theta`, `inputs`, `moves`, `fresh`: those of a roll.
    """

    def body(move: Move, operands, theta, step_inputs):
        theta = moved(move, theta, *step_inputs)
        return theta, theta, None

    def taken(states, records):
        return jnp.concatenate([theta[None], states[:-1]]), inputs

    steps = inputs, moves, fresh
    return scan_by_adjoint(
        step, parameters, held, body, taken, theta, None, theta, steps
    )[1]


class Driven(eqx.Module):
    """Takes a transition's place in a model: steps by the `move` it is given."""

    move: Move

    def advance(
        self, theta: Weights, hidden: PyTree, dx: Float[Array, " c"]
    ) -> tuple[Weights, PyTree]:
        """Takes one step of the state and of what is kept beside it."""
        return self.move((theta, hidden), dx)


def scan_driven(
    model: Any, turn: Callable[[Any, Any, Any], tuple[Any, Any]], state, inputs
) -> tuple[Any, Any]:
    """Returns a scan of `turn(model, state, inputs)`, which calls `model.step` once, with
    the gradient in `model.transition` as one product; the gradient of all else comes
    sequence by sequence.
    """
    # Nothing idle takes part.
    parts = lambda model: (model.transition, model.initial)  # noqa: E731

    def body(move, model, state, inputs):
        taken = []

        def recorded(before, dx):
            # The states do not tell what drove a step: of a gap they keep no trace.
            taken.append((before, dx))
            return move(before, dx)

        model = eqx.tree_at(
            parts, model, (Driven(recorded), None), is_leaf=lambda x: x is None
        )
        after, output = turn(model, state, inputs)
        (record,) = taken
        return after, output, record

    def step(transition, state, dx):
        return transition.advance(*state, dx)

    return scan_by_adjoint(
        step,
        model.transition,
        model.transition.held(),
        body,
        lambda outputs, taken: taken,
        (state.theta, state.hidden),
        eqx.tree_at(parts, model, (None, None)),
        state,
        inputs,
    )


def scan_by_adjoint(
    step: Step,
    parameters: PyTree,
    held: PyTree,
    body: Callable[[Move, Any, Any, Any], tuple[Any, Any, Any]],
    taken: Callable[[Any, Any], tuple[PyTree, PyTree]],
    like: PyTree,
    operands: PyTree,
    carry: PyTree,
    inputs: PyTree,
) -> tuple[Any, Any]:
    """Returns the last carry and the outputs of a scan that takes one step in each turn.

    **Arguments:**

    - `step`, `parameters`, `held`: those of `states_by_adjoint`; a state may have
        any structure.
    - `body`: `(move, operands, carry, inputs) -> carry, output, record`. Calls `move`,
        which is `step` at the parameters, once.
    - `taken`: `(outputs, records) -> states, inputs`: what all steps were taken on.
    - `like`: a state, for its shapes.
    - `operands`: what else `body` depends on; it closes over nothing differentiated.
    - `carry`, `inputs`: those of a scan.
    """
    arrays, others = eqx.partition((operands, carry, inputs), eqx.is_inexact_array)
    length = len(jax.tree.leaves(inputs)[0])
    taps = jax.tree.map(lambda a: jnp.zeros((length, *a.shape), a.dtype), like)

    def scan(arrays, taps):
        operands, carry, inputs = eqx.combine(arrays, others)

        def turn(carry, turn_inputs):
            inputs, tap = turn_inputs

            def move(state, step_inputs):
                return _tapped(step(held, state, step_inputs), tap)

            carry, output, record = body(move, operands, carry, inputs)
            return carry, (output, record)

        carry, (outputs, records) = lax.scan(turn, carry, (inputs, taps))
        return (carry, outputs), records

    arrays_held = lax.stop_gradient(arrays)
    result, pull, records = jax.vjp(scan, arrays_held, taps, has_aux=True)
    began = lax.stop_gradient(taken(result[1], records))
    # Has the value of the states, which nobody needs; what counts is its derivative.
    states = jax.vmap(lambda *step_inputs: step(parameters, *step_inputs))(*began)
    return _attach(result, pull, arrays, states)


@jax.custom_vjp
def _tapped(state, tap):
    """Returns `state`; its cotangent is also that of `tap`, which is never read."""
    return state


_tapped.defvjp(lambda state, tap: (state, None), lambda _, slope: (slope, slope))


@jax.custom_vjp
def _attach(result, pull, arrays, states):
    """Returns `result`, as a function of what a scan began with and of its states."""
    return result


def _forward(result, pull, arrays, states):
    return result, pull


def _backward(pull, slopes):
    arrays, states = pull(slopes)
    return None, None, arrays, states


_attach.defvjp(_forward, _backward)
