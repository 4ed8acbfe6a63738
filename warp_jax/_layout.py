"""mesh -> where the arrays of a training lie: parameters placed, examples split."""

import zlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ._check import check_integer, is_concrete
from ._save import describe, is_whole, with_key_data
from ._training import Trained, Training


Tree = TypeVar("Tree", bound=PyTree)
# (model, mesh) -> a tree like the model's arrays, of a `PartitionSpec` for each.
Placement = Callable[[PyTree, Mesh], PyTree[PartitionSpec]]
# The place of an array in a model, its shape, and how it is split.
Rule = tuple[str, tuple[int, ...], PartitionSpec]


class SplitRows(eqx.Module):
    """Splits the large arrays of a model by rows over one axis of a mesh: the tensor
    parallelism (Shoeybi et al. 2019, arXiv 1909.08053) of `fit(..., mesh,
    placement=SplitRows("state"))`.

    Of a dense transition each device then holds some rows of A and B, of a subspace those
    of P, of a hypernetwork those of its last layer, and with them the same part of the
    gradient and of the optimiser's moments. Which numbers travel follows from that, and is
    for XLA to find. For a model whose A is too large for one device; where it is not,
    splitting examples alone has less to send.

    Called with a model and a mesh it gives a `PartitionSpec` for each array, which
    `eqx.tree_at` changes where a model needs another.
    """

    axis: str = eqx.field(static=True)
    least: int = eqx.field(static=True)

    def __init__(self, axis: str, *, least: int = 4096):
        """**Arguments:**

        - `axis`: the axis of the mesh.
        - `least`: numbers in an array from which on it is split, 4 096 by default: a small
            one costs more to gather than to hold. Vectors are on all devices, and so is
            what has a number of rows that does not divide by the devices of the axis.

        **Raises:** `TypeError` for `least` that is no whole number, `ValueError` below 1.
        """
        self.axis = axis
        self.least = check_integer("SplitRows(axis, least)", "least", least, 1)

    def __call__(self, model: PyTree, mesh: Mesh) -> PyTree[PartitionSpec]:
        """Returns how each array of the model is split.

        **Raises:** `ValueError` where the mesh has no such axis, or no array is split.
        """
        call = f"SplitRows({self.axis!r}, least={self.least})(model, mesh)"
        if self.axis not in mesh.shape:
            raise ValueError(
                f"`{call}` needs a mesh with an axis {self.axis!r}; got the axes "
                f"{mesh.axis_names}."
            )
        parts = mesh.shape[self.axis]

        def split(array) -> bool:
            large = eqx.is_inexact_array(array) and array.size >= self.least
            return large and array.ndim > 1 and array.shape[0] % parts == 0

        arrays = eqx.filter(model, eqx.is_array)
        if not any(map(split, jax.tree.leaves(arrays))):
            shapes = sorted(
                (a.shape for a in jax.tree.leaves(arrays) if a.ndim > 1), reverse=True
            )
            raise ValueError(
                f"`{call}` found no array to split: none has {self.least} numbers and rows "
                f"that divide by {parts}. The shapes are {shapes[:4]}. Choose an auxiliary "
                "network whose number of weights divides, or a lower `least`."
            )
        return jax.tree.map(
            lambda a: PartitionSpec(self.axis) if split(a) else PartitionSpec(), arrays
        )


class Layout(NamedTuple):
    """Where the arrays of a training lie on the devices of a mesh. Examples are split
    along its first axis.

    - `rules`: how the arrays of the model are split; others are on all devices.
    """

    mesh: Mesh
    rules: tuple[Rule, ...]

    def placed(self, tree: Tree) -> Tree:
        """Returns a tree with each array in its place: that of the model's array whose
        path is the end of its own, as the moments in an optimiser's state have it.
        """

        def sharding(path, array):
            place, own = jtu.keystr(path), PartitionSpec()
            for end, shape, spec in self.rules:
                if place.endswith(end) and array.shape == shape:
                    own = spec
                    break
            return NamedSharding(self.mesh, own)

        arrays = eqx.filter(tree, eqx.is_array)
        return self._put(tree, jtu.tree_map_with_path(sharding, arrays))

    def begun(self, training: Training) -> Training:
        """Returns a training with each array in its place, what is carried everywhere."""
        whole = NamedSharding(self.mesh, PartitionSpec())
        carry = self._put(training.trained.carry, whole)
        return _with_carry(self.placed(_with_carry(training, None)), carry)

    def apart(self, call: str, name: str, tree: Tree) -> Tree:
        """Returns a tree of which every device has its part of each array.

        **Raises:** `ValueError` where a leading axis does not divide by the devices, or an
        array lies elsewhere.
        """
        axis = self.mesh.axis_names[0]
        devices = self.mesh.shape[axis]
        for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)):
            if not leaf.shape or leaf.shape[0] % devices:
                raise ValueError(
                    f"`{call}` needs a leading axis of examples in every array of "
                    f"{name} that divides by the {devices} devices of the mesh; got "
                    f"shape {leaf.shape}."
                )
        self.check_whole(call, name, tree)
        return self._put(tree, NamedSharding(self.mesh, PartitionSpec(axis)))

    def shared(
        self, call: str, batch: PyTree, trained: Trained, agree: bool
    ) -> tuple[PyTree, Trained]:
        """Returns a batch and what is carried into it, both split.

        - `agree`: whether to check that all processes were given the same.
        """
        is_array = lambda leaf: eqx.is_array_like(leaf) and jnp.ndim(leaf)  # noqa: E731
        batch = jax.tree.map(lambda a: jnp.asarray(a) if is_array(a) else a, batch)
        carry = self.apart(call, "the carry", trained.carry)
        if agree:
            self.check_agreed(call, "batch", batch)
        return self.apart(call, "a batch", batch), _with_carry(trained, carry)

    @property
    def spans(self) -> bool:
        """Whether devices of other processes take part."""
        return self.mesh.is_multi_process

    def check_whole(self, call: str, name: str, tree: PyTree) -> None:
        """Raises where a mesh of several processes cannot be given an array."""
        if not self.spans:
            return
        devices = set(self.mesh.devices.flat)
        for leaf in jax.tree.leaves(tree):
            if not isinstance(leaf, jax.Array):
                continue
            placed = leaf.sharding.device_set
            if placed != devices and (leaf.committed or not leaf.is_fully_addressable):
                raise ValueError(
                    f"`{call}` has a mesh of {len(devices)} devices of several processes, "
                    f"and {name} with an array of shape {leaf.shape} on {len(placed)} "
                    "other ones. Give every process the whole as a NumPy array, or make "
                    "one of their parts by `jax.make_array_from_process_local_data`."
                )

    def check_agreed(self, call: str, name: str, tree: PyTree) -> None:
        """Raises where the processes of a mesh were given different arrays."""
        if not self.spans:
            return
        tree = with_key_data(tree)
        own = [a for a in jax.tree.leaves(tree) if eqx.is_array(a)]
        own = [a for a in own if is_whole(a)]
        told = zlib.crc32(repr(describe(tree)).encode())
        for array in own:
            told = zlib.crc32(jax.device_get(array).tobytes(), told)
        split = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        # Of each device what its process was given.
        mine = jnp.full(1, told, jnp.uint32)
        sums = jax.make_array_from_callback(
            (self.mesh.size,), split, lambda _: jax.device_get(mine)
        )
        if not jax.jit(lambda sums: jnp.all(sums == sums[0]))(sums):
            raise ValueError(
                f"`{call}` needs the same {name} in all {jax.process_count()} processes; "
                f"got different ones. Make it from the same key and data in each, or make "
                "one array of their parts by `jax.make_array_from_process_local_data`."
            )

    def _put(self, tree: Tree, shardings: PyTree) -> Tree:
        leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
        if self.spans or not is_concrete(*leaves):
            return eqx.filter_shard(tree, shardings)
        # Takes what was committed to a device, too.
        arrays, rest = eqx.partition(tree, eqx.is_array)
        return eqx.combine(jax.device_put(arrays, shardings), rest)


def _with_carry(tree, carry: PyTree):
    """Returns a training, or what is trained, with another carry."""
    where = lambda t: (t.trained if isinstance(t, Training) else t).carry  # noqa: E731
    return eqx.tree_at(where, tree, carry, is_leaf=lambda part: part is None)


def lay_out(call: str, mesh, placement: Placement | None, model: PyTree) -> Layout:
    """Returns the layout of a model on a mesh, as `jax.make_mesh` gives it.

    **Raises:** `TypeError` for what is no mesh or no tree of `PartitionSpec`, `ValueError`
    for a mesh without a device of this process, or an array that cannot be split so.
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"`{call}` needs a `jax.sharding.Mesh` for `mesh`, as of "
            f"`jax.make_mesh((8,), ('batch',))`; got {type(mesh).__name__}."
        )
    if not mesh.local_devices:
        raise ValueError(
            f"`{call}` needs a `mesh` with a device of this process, number "
            f"{jax.process_index()}; got one of {mesh.size} devices of others. Make it "
            "after `jax.distributed.initialize`, of `jax.devices()`."
        )
    # Only where data lies is told; how operations are split is for XLA to find.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    if placement is None:
        return Layout(mesh, ())
    arrays, like = jtu.tree_flatten_with_path(eqx.filter(model, eqx.is_array))
    specs, given = jax.tree.flatten(
        placement(model, mesh), is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)
    )
    if given != like or not all(isinstance(spec, PartitionSpec) for spec in specs):
        raise TypeError(
            f"`{call}` needs a `placement` that gives a tree like the arrays of the model, "
            f"`eqx.filter(model, eqx.is_array)`, of a `PartitionSpec` each; got {given} "
            f"for {like}."
        )
    rules = []
    for (path, array), spec in zip(arrays, specs, strict=True):
        place = jtu.keystr(path)
        try:
            NamedSharding(mesh, spec).shard_shape(array.shape)
        except ValueError as error:
            raise ValueError(
                f"`{call}` cannot split the array {place or 'given'} of shape "
                f"{array.shape} by {spec} over the mesh {dict(mesh.shape)}: {error}"
            ) from error
        rules.append((place, array.shape, spec))
    # Of two places that end a third one, the longer is meant.
    return Layout(mesh, tuple(sorted(rules, key=lambda rule: -len(rule[0]))))
