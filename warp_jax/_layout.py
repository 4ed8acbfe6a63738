"""mesh -> where the arrays of a training lie: parameters everywhere, examples split."""

from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ._training import Trained


Tree = TypeVar("Tree", bound=PyTree)


class Layout(NamedTuple):
    """Two shardings over the devices of a mesh, along its first axis.

    - `whole`: every device has all.
    - `split`: every device has its part of the leading axis.
    - `devices`: how many parts there are.
    """

    whole: NamedSharding
    split: NamedSharding
    devices: int

    def everywhere(self, tree: Tree) -> Tree:
        """Returns a tree of which every device has all."""
        return eqx.filter_shard(tree, self.whole)

    def apart(self, call: str, name: str, tree: Tree) -> Tree:
        """Returns a tree of which every device has its part of each array.

        **Raises:** `ValueError` where a leading axis does not divide by the devices.
        """
        shapes = [leaf.shape for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)]
        for shape in shapes:
            if not shape or shape[0] % self.devices:
                raise ValueError(
                    f"`{call}` needs a leading axis of examples in every array of "
                    f"{name} that divides by the {self.devices} devices of the mesh; got "
                    f"shape {shape}."
                )
        return eqx.filter_shard(tree, self.split)

    def shared(
        self, call: str, batch: PyTree, trained: Trained
    ) -> tuple[PyTree, Trained]:
        """Returns a batch and what is carried into it, both split."""
        is_array = lambda leaf: eqx.is_array_like(leaf) and jnp.ndim(leaf)  # noqa: E731
        batch = jax.tree.map(lambda a: jnp.asarray(a) if is_array(a) else a, batch)
        carry = self.apart(call, "the carry", trained.carry)
        trained = eqx.tree_at(
            lambda t: t.carry, trained, carry, is_leaf=lambda part: part is None
        )
        return self.apart(call, "a batch", batch), trained


def lay_out(call: str, mesh) -> Layout:
    """Returns the layout on a mesh, as `jax.make_mesh` gives it.

    **Raises:** `TypeError` for what is no mesh, `ValueError` for one of several axes.
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"`{call}` needs a `jax.sharding.Mesh` for `mesh`, as of "
            f"`jax.make_mesh((8,), ('batch',))`; got {type(mesh).__name__}."
        )
    if len(mesh.axis_names) != 1:
        raise ValueError(
            f"`{call}` needs a `mesh` of one axis, along which examples are split; got "
            f"the axes {mesh.axis_names}."
        )
    # Only where data lies is told; how operations are split is for XLA to find.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec(*mesh.axis_names))
    return Layout(whole, split, mesh.devices.size)
