"""steps -> outputs of each: differentiated, with those of a batch as one axis."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._devices import several_devices


# (shared, steps, sequences) -> outputs: of arrays with a leading axis, along which lie the
# steps of so many sequences, each taken alone.
OverSteps = Callable[[PyTree[Array], PyTree[Array], int], Any]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def over_all_steps(
    function: OverSteps, shared: PyTree[Array], steps: PyTree[Array]
) -> PyTree[Array]:
    """Returns `function(shared, steps, 1)`, which closes over nothing differentiated; its
    derivative is `merged`.
    """
    return function(shared, steps, 1)


@over_all_steps.defjvp
def _over_all_steps_jvp(function, primals, tangents):
    arrays, others = eqx.partition(primals, eqx.is_inexact_array)
    changes = jax.tree.map(
        lambda array, change: change if eqx.is_inexact_array(array) else None,
        primals,
        tangents,
    )

    def change(shared, steps, sequences):
        arrays, others, changes = zip(shared, steps)
        of = lambda *arrays: function(*eqx.combine(arrays, others), sequences)  # noqa: E731
        return jax.jvp(of, arrays, changes)

    return merged(change, *zip(arrays, others, changes))


def merged(
    function: OverSteps, shared: PyTree[Array], steps: PyTree[Array]
) -> PyTree[Array]:
    """Returns `function(shared, steps, 1)`, for a rule that tells a derivative.

    Under a `jax.vmap` over sequences that share `shared`, the steps of all of them are
    one axis: a gradient in what is shared is then a product that contracts one axis, not
    two, and to go over the steps in turns moves no memory about.
    """
    # JAX is handed lists of arrays: of trees with a `None` its rule has no derivative.
    (shared, shared_like), (steps, steps_like) = map(jax.tree.flatten, (shared, steps))
    likes = []

    def flat(shared, steps, sequences):
        shared = jax.tree.unflatten(shared_like, shared)
        steps = jax.tree.unflatten(steps_like, steps)
        outputs, like = jax.tree.flatten(function(shared, steps, sequences))
        likes.append(like)
        return outputs

    outputs = _merged(flat, shared, steps)
    return jax.tree.unflatten(likes[0], outputs)


def _merged(
    function: Callable[[list[Array], list[Array], int], list[Array]],
    shared: list[Array],
    steps: list[Array],
) -> list[Array]:
    """Returns the same, of lists."""
    counts = []

    def alone(shared, steps):
        return function(shared, steps, 1)

    def rule(count, batched, shared, steps):
        counts.append(count)
        # One axis cannot lie on several devices by the sequences that are part of it.
        apart = several_devices() or not jax.sharding.get_abstract_mesh().empty
        if any(batched[0]) or (apart and any(batched[1])):
            axes = tuple([0 if one else None for one in part] for part in batched)
            outputs = jax.vmap(alone, axes)(shared, steps)
        elif not any(batched[1]):
            # As where of a value and its change the change alone is a batch.
            outputs = alone(shared, steps)
            return outputs, [False] * len(outputs)
        else:
            # A scan has put the time first, in memory too.
            def merge(array, mapped):
                if not mapped:
                    array = jnp.broadcast_to(array, (count, *array.shape))
                array = jnp.swapaxes(array, 0, 1)
                return array.reshape(-1, *array.shape[2:])

            def part(array):
                array = array.reshape(-1, count, *array.shape[1:])
                return jnp.swapaxes(array, 0, 1)

            def further(shared, steps, sequences):
                return function(shared, steps, count * sequences)

            # There may be another `vmap` around this one.
            steps = list(map(merge, steps, batched[1]))
            outputs = list(map(part, _merged(further, shared, steps)))
        return outputs, [True] * len(outputs)

    batching = jax.custom_batching.custom_vmap(alone)
    batching.def_vmap(rule)
    outputs = batching(shared, steps)
    # Where no `vmap` has called the rule there is nothing to merge, and what JAX has noted
    # in its place could not be transposed.
    return outputs if counts else alone(shared, steps)
