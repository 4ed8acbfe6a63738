"""A scan whose gradient in shared parameters is one product, not a sum over the steps.

The backward pass of a scan adds to the gradient of A at every step: for a dense A that is
a small product, and all of A read and written again; so too for the directions that the
layers of a decoder are made from. Here the scan's backward pass makes the cotangents of
what such sites give alone, and their gradients follow from all of them at once. That hides
from JAX how the gradient depends on the parameters: `_known` tells it by the plain scan,
which runs only where a second derivative is asked for.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PyTree

from .._types import Mask, Weights
from .base import Fresh, moved
from .merged import merged
from .segments import read_in_turns


# What the backward pass of a scan knows those outputs of its sites by that it keeps.
GIVEN = "given by a site"
# In at least so many turns all steps of a site are taken that holds more than its inputs.
TURNS = 4


class Site(NamedTuple):
    """What each turn of a scan calls once.

    - `call`: `(parameters, *inputs) -> output`; closes over nothing differentiated.
    - `parameters`: what it depends on, as a transition.
    - `held`: `(*inputs) -> output`, the same without a gradient in the parameters.
    - `like`: an output, for its shapes.
    - `footprint`: numbers that one call holds; by default few.
    """

    call: Callable[..., PyTree]
    parameters: PyTree
    held: Callable[..., PyTree]
    like: PyTree
    footprint: int = 1


def states_by_adjoint(
    step: Callable[[PyTree, Weights, Array], Weights],
    parameters: PyTree,
    held: PyTree,
    theta: Weights,
    inputs: Float[Array, "t c"],
    moves: Mask | None,
    fresh: Fresh | None = None,
) -> Float[Array, "s p"]:
    """Returns the first state and that after each step, of shape `(time + 1, state)`.

    **Arguments:**

    - `step`: a step; closes over nothing that is differentiated.
    - `parameters`: what it depends on, as a transition.
    - `held`: the same where no gradient is asked for.
    - `theta`, `inputs`, `moves`, `fresh`: those of a roll.
    """

    def body(calls, operands, theta, step_inputs):
        return moved(calls[0], theta, *step_inputs), theta, None

    def taken(before, records, theta, steps):
        return ((before, steps[0]),)

    sites = (Site(step, parameters, functools.partial(step, held), theta),)
    steps = inputs, moves, fresh
    last, before = scan_by_adjoint(sites, body, taken, None, theta, steps)
    return jnp.concatenate([before, last[None]])


def scan_by_adjoint(
    sites: tuple[Site, ...],
    body: Callable[..., tuple[Any, Any, Any]],
    taken: Callable[[Any, Any, Any, Any], tuple[PyTree, ...]],
    operands: PyTree,
    carry: PyTree,
    inputs: PyTree,
) -> tuple[Any, Any]:
    """Returns the last carry and the outputs of a scan that calls each site once a turn.

    **Arguments:**

    - `body`: `(calls, operands, carry, inputs) -> carry, output, record`. Calls each of
        `calls` once, which are the sites' at their parameters.
    - `taken`: `(outputs, records, carry, inputs) -> inputs of each site`: of all steps of
        a scan from `carry`.
    - `operands`: what else `body` depends on; it closes over nothing differentiated.
    - `carry`, `inputs`: those of a scan.
    """
    arrays, others = eqx.partition((operands, carry, inputs), eqx.is_inexact_array)
    parameters = tuple(site.parameters for site in sites)
    learnt, fixed = eqx.partition(parameters, eqx.is_inexact_array)
    given, static = eqx.partition((others, fixed), eqx.is_array)
    length = len(jax.tree.leaves(inputs)[0])
    like = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype),
        tuple(site.like for site in sites),
    )

    def untapped():
        return jax.tree.map(lambda a: jnp.zeros((length, *a.shape), a.dtype), like)

    def scan(calls, tapped, arrays, given, taps):
        others, _ = eqx.combine(given, static)
        operands, carry, inputs = eqx.combine(arrays, others)

        def turn(carry, turn_inputs):
            inputs, taps = turn_inputs

            def tapping(site, call, tap):
                def given(*inputs):
                    output = tapped(call(*inputs), tap)
                    if site.footprint <= sum(a.size for a in jax.tree.leaves(output)):
                        return output
                    return jax.tree.map(lambda a: checkpoint_name(a, GIVEN), output)

                return given

            tapped_calls = tuple(map(tapping, sites, calls, taps))
            carry, output, record = body(tapped_calls, operands, carry, inputs)
            return carry, (output, record)

        if len(sites) > 1:
            # What lies between is cheaper to make again than to keep, and so is what a site
            # gives that holds no more than that.
            keep = jax.checkpoint_policies.save_only_these_names(GIVEN)
            turn = jax.checkpoint(turn, prevent_cse=False, policy=keep)
        last, (outputs, records) = lax.scan(turn, carry, (inputs, taps))
        return (last, outputs), taken(outputs, records, carry, inputs)

    def calling(learnt, arrays):
        parameters = eqx.combine(learnt, eqx.combine(arrays, static[1]))
        return tuple(
            functools.partial(site.call, of) for site, of in zip(sites, parameters)
        )

    def plain(context, taps=None):
        taps = untapped() if taps is None else taps
        learnt, arrays, given = context
        add = functools.partial(jax.tree.map, jnp.add)
        return scan(calling(learnt, given[1]), add, arrays, given, taps)

    def pulled(arguments):
        (learnt, arrays, given), slopes = arguments
        plain_of = lambda arrays, taps: plain((learnt, arrays, given), taps)  # noqa: E731
        return jax.vjp(plain_of, arrays, untapped(), has_aux=True)[1](slopes)

    def steps(learnt, fixed, began, sequences=1):
        def all_steps(site, call, inputs):
            def once(inputs):
                return call(*inputs)

            if site.footprint > 1:
                # What a call holds is larger than its inputs, from which it is made again.
                once = jax.checkpoint(once, prevent_cse=False)
            least = TURNS if site.footprint > 1 else 1
            return read_in_turns(once, inputs, site.footprint, sequences, least)

        return tuple(map(all_steps, sites, calling(learnt, fixed), began))

    context = learnt, arrays, given
    held = tuple(site.held for site in sites)
    result, pull, began = jax.vjp(
        lambda arrays, taps: scan(held, _tapped, arrays, given, taps),
        lax.stop_gradient(arrays),
        untapped(),
        has_aux=True,
    )
    # Has the value of the outputs, which nobody needs; what counts is its derivative.
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
    return steps(learnt, context[2][1], began)


_in_parameters = jax.custom_jvp(_all_steps, nondiff_argnums=(0, 1))


@_in_parameters.defjvp
def _in_parameters_jvp(steps, plain, primals, tangents):
    learnt, began, context = primals
    began = _known(lambda context: plain(context)[1], began, context)

    def change(shared, began, sequences):
        learnt, moved, fixed = shared
        of = lambda learnt: steps(learnt, fixed, began, sequences)  # noqa: E731
        return jax.jvp(of, (learnt,), (moved,))

    return merged(change, (learnt, tangents[0], context[2][1]), began)


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
