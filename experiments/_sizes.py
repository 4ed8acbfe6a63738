"""a model -> how many trained numbers it has."""

import equinox as eqx
import jax

import warp_jax as wj


def count(model) -> int:
    """Returns how many trained numbers a model has."""
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return sum(leaf.size for leaf in leaves)


def of_transitions(model) -> dict[str, int]:
    """Returns how many trained numbers the transitions of a model have without those of
    their B, nothing where it has no transition.
    """

    def transition(node) -> bool:
        return isinstance(node, wj.AbstractTransition)

    found = [
        one for one in jax.tree.leaves(model, is_leaf=transition) if transition(one)
    ]
    numbers = jax.tree_util.tree_leaves_with_path(
        eqx.filter(found, eqx.is_inexact_array)
    )
    sizes = [
        leaf.size
        for place, leaf in numbers
        if not jax.tree_util.keystr(place).endswith(".B")
    ]
    return {"transition_parameters": sum(sizes)} if found else {}
