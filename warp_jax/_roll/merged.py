"""steps -> outputs of each: with those of a batch of sequences as one axis."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._devices import several_devices


def over_all_steps(
    function: Callable[[PyTree[Array], PyTree[Array], int], PyTree[Array]],
    shared: PyTree[Array],
    steps: PyTree[Array],
) -> PyTree[Array]:
    """Returns `function(shared, steps, 1)`, which takes each step alone.

    Under a `jax.vmap` over sequences that share `shared`, the steps of all of them are
    one axis: a gradient in what is shared is then a product that contracts one axis, not
    two, and to go over the steps in turns moves no memory about.

    **Arguments:**

    - `function`: `(shared, steps, sequences) -> outputs`, the steps and outputs arrays
        with a leading axis, along which lie those of so many sequences.
    - `shared`, `steps`: what it is called with; it closes over nothing differentiated.
    """
    merged = []

    def alone(shared, steps):
        return function(shared, steps, 1)

    def rule(count, batched, shared, steps):
        merged.append(count)
        # One axis cannot lie on several devices by the sequences that are part of it.
        apart = several_devices() or not jax.sharding.get_abstract_mesh().empty
        if apart or any(jax.tree.leaves(batched[0])):
            axes = jax.tree.map(lambda mapped: 0 if mapped else None, tuple(batched))
            outputs = jax.vmap(alone, axes)(shared, steps)
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

            outputs = function(shared, jax.tree.map(merge, steps, batched[1]), count)
            outputs = jax.tree.map(part, outputs)
        return outputs, jax.tree.map(lambda _: True, outputs)

    batching = jax.custom_batching.custom_vmap(alone)
    batching.def_vmap(rule)
    outputs = batching(shared, steps)
    # Where no `vmap` has called the rule there is nothing to merge, and what JAX has noted
    # in its place could not be transposed.
    return outputs if merged else alone(shared, steps)
