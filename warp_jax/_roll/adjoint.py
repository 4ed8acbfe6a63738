"""A scan whose gradient in the transition is one product, not a sum over the steps.

The backward pass of a scan adds to the gradient of A at every step: for a dense A that is
a small product, and all of A read and written again. Here the scan's backward pass makes
the cotangents of the states alone, and the gradient of A follows from all of them at once.
That hides from JAX how the gradient depends on the parameters: `_known` tells it by the
plain scan, which runs only where a second derivative is asked for.
"""

import functools
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

    def taken(states, records, theta, steps):
        return jnp.concatenate([theta[None], states[:-1]]), steps[0]

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
        lambda outputs, records, carry, inputs: records,
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
    taken: Callable[[Any, Any, Any, Any], tuple[PyTree, PyTree]],
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
    - `taken`: `(outputs, records, carry, inputs) -> states, inputs`: what all steps were
        taken on, of a scan from `carry`.
    - `like`: a state, for its shapes.
    - `operands`: what else `body` depends on; it closes over nothing differentiated.
    - `carry`, `inputs`: those of a scan.
    """
    arrays, others = eqx.partition((operands, carry, inputs), eqx.is_inexact_array)
    learnt, fixed = eqx.partition(parameters, eqx.is_inexact_array)
    given, static = eqx.partition((others, fixed), eqx.is_array)
    length = len(jax.tree.leaves(inputs)[0])
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), like)

    def untapped():
        return jax.tree.map(lambda a: jnp.zeros((length, *a.shape), a.dtype), like)

    def scan(move: Move, tapped, arrays, given, taps):
        others, _ = eqx.combine(given, static)
        operands, carry, inputs = eqx.combine(arrays, others)

        def turn(carry, turn_inputs):
            inputs, tap = turn_inputs

            def moving(state, step_inputs):
                return tapped(move(state, step_inputs), tap)

            carry, output, record = body(moving, operands, carry, inputs)
            return carry, (output, record)

        last, (outputs, records) = lax.scan(turn, carry, (inputs, taps))
        return (last, outputs), taken(outputs, records, carry, inputs)

    def moving(learnt, given):
        parameters = eqx.combine(learnt, eqx.combine(given, static)[1])
        return functools.partial(step, parameters)

    def plain(context, taps=None):
        taps = untapped() if taps is None else taps
        learnt, arrays, given = context
        add = functools.partial(jax.tree.map, jnp.add)
        return scan(moving(learnt, given), add, arrays, given, taps)

    def pulled(arguments):
        (learnt, arrays, given), slopes = arguments
        plain_of = lambda arrays, taps: plain((learnt, arrays, given), taps)  # noqa: E731
        return jax.vjp(plain_of, arrays, untapped(), has_aux=True)[1](slopes)

    def steps(learnt, given, began):
        return jax.vmap(moving(learnt, given))(*began)

    context = learnt, arrays, given
    held_step = functools.partial(step, held)
    result, pull, began = jax.vjp(
        lambda arrays, taps: scan(held_step, _tapped, arrays, given, taps),
        lax.stop_gradient(arrays),
        untapped(),
        has_aux=True,
    )
    # Has the value of the states, which nobody needs; what counts is its derivative.
    states = _in_parameters(steps, plain, learnt, lax.stop_gradient(began), context)
    return _attach(plain, pulled, result, pull, context, arrays, states)


@jax.custom_vjp
def _tapped(state, tap):
    """Returns `state`; its cotangent is also that of `tap`, which is never read."""
    return state


_tapped.defvjp(lambda state, tap: (state, None), lambda _, slope: (slope, slope))


def _value(function, value, arguments):
    return value


_known_backward = jax.custom_vjp(_value, nondiff_argnums=(0,))
_known_backward.defvjp(
    lambda function, value, arguments: (value, arguments),
    lambda function, arguments, slope: (None, *jax.vjp(function, arguments)[1](slope)),
)


def _forgetful(function, value, arguments):
    """Returns `value`, which is `function(arguments)` known before; that is called only
    where it is differentiated, as for a second derivative.
    """
    # A scan that is differentiated backward forgets a rule for forward mode.
    return _known_backward(function, value, arguments)


_known = jax.custom_jvp(_forgetful, nondiff_argnums=(0,))


@_known.defjvp
def _known_jvp(function, primals, tangents):
    (value, arguments), (_, changes) = primals, tangents
    return value, jax.jvp(function, (arguments,), (changes,))[1]


def _all_steps(steps, plain, learnt, began, context):
    """Returns all steps as a function of their parameters alone: on what they were taken
    depends on these too, but that part of the gradient is the scan's.
    """
    return steps(learnt, context[2], began)


_in_parameters = jax.custom_jvp(_all_steps, nondiff_argnums=(0, 1))


@_in_parameters.defjvp
def _in_parameters_jvp(steps, plain, primals, tangents):
    learnt, began, context = primals
    began = _known(lambda context: plain(context)[1], began, context)
    of = lambda learnt: steps(learnt, context[2], began)  # noqa: E731
    return jax.jvp(of, (learnt,), tangents[:1])


def _result(plain, pulled, result, pull, context, arrays, states):
    """Returns `result`, as a function of what a scan began with and of its states."""
    return result


def _forward(plain, pulled, result, pull, context, arrays, states):
    result = _known(lambda context: plain(context)[0], result, context)
    return result, (pull, context)


def _backward(plain, pulled, residuals, slopes):
    pull, context = residuals
    slopes, rest = eqx.partition(slopes, eqx.is_inexact_array)

    def function(arguments):
        context, slopes = arguments
        return pulled((context, eqx.combine(slopes, rest)))

    value = pull(eqx.combine(lax.stop_gradient(slopes), rest))
    return None, None, None, *_known(function, value, (context, slopes))


_attach = jax.custom_vjp(_result, nondiff_argnums=(0, 1))
_attach.defvjp(_forward, _backward)
