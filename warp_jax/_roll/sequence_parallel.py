"""theta_0, dxs -> thetas, the time of a sequence split over devices."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from .._transition import AbstractTransition
from .._types import Mask, Output, Weights
from .associative import choose
from .auto import AutoRoll
from .base import AbstractRoll, advanced, doubled, Fresh, Read
from .segments import join


class SequenceParallelRoll(AbstractRoll):
    """Splits the time of a sequence over one axis of a mesh: each device rolls and reads a
    piece of it, and holds the states of that piece alone.

    Exact, in two passes. Each piece is first rolled from zero, to its last state; from one
    piece to the next the state is then carried by `A^steps`, made by doubling, and by what
    the piece adds: one state a device is all that travels. From its start each piece is
    then rolled and read. So a step costs twice, and time is divided by the devices: for
    sequences whose states are too many for one device, or a batch smaller than the
    devices, and for transitions that compose cheaply: coefficients, modes, blocks, a
    diagonal. The powers of a dense A cost a few products of matrices on every device.

    (The pieces are those of a parallel prefix, Blelloch 1990, one a device.)
    """

    mesh: Mesh = eqx.field(static=True)
    axis: str = eqx.field(static=True)
    roll: AbstractRoll

    def __init__(self, mesh: Mesh, axis: str, roll: AbstractRoll = AutoRoll()):
        """**Arguments:**

        - `mesh`: devices, as `jax.make_mesh((2, 4), ("batch", "time"))`; for `fit`, the
            same one. Other axes are left to what is outside, as examples in `fit`.
        - `axis`: the axis of the mesh that time is split over. A length that
            does not divide is filled up with steps that do not move.
        - `roll`: how a device rolls its piece; by default `AutoRoll()`.

        **Raises:** `TypeError` for what is no mesh, `ValueError` for an axis that it has
        not, or a `roll` that is not linear.
        """
        call = "SequenceParallelRoll(mesh, axis, roll)"
        if not isinstance(mesh, Mesh):
            raise TypeError(
                f"`{call}` needs a `jax.sharding.Mesh` for `mesh`, as of "
                f"`jax.make_mesh((8,), ('time',))`; got {type(mesh).__name__}."
            )
        if axis not in mesh.shape:
            raise ValueError(
                f"`{call}` needs an `axis` of the mesh, one of {mesh.axis_names}; got "
                f"axis={axis!r}."
            )
        if not roll.reduces:
            raise ValueError(
                f"`{call}` needs a `roll` whose pieces add up; got {roll}, which is not "
                "linear in the state. Leave `limit` away."
            )
        # How operations are split along other axes is for XLA to find.
        self.mesh = Mesh(mesh.devices, mesh.axis_names)
        self.axis = axis
        self.roll = roll

    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
        read: Read,
        context: PyTree[Array],
        fresh: Fresh | None = None,
    ) -> tuple[Output, Weights]:
        length = len(dxs) + 1
        # What leads from a state of a piece to the next one; none from the last of all.
        steps = jax.tree.map(
            lambda a: jnp.concatenate([a, jnp.zeros_like(a[:1])]),
            (dxs, _all(dxs, moves), fresh),
        )
        starts, _ = self._starts(transition, theta, steps, every=moves is None)
        dxs, moving, fresh = jax.tree.map(self._cut, steps)
        if moves is None and length % self._count == 0:
            moving = None

        def piece(held, start, steps, context):
            transition, read = held
            inner = jax.tree.map(lambda a: a[:-1], steps)
            if len(inner[0]) == 0:
                return read(start[None], context), start
            dxs, moves, fresh = inner
            given = transition, start, dxs, moves, read, context
            return self.roll(*given, *(() if fresh is None else (fresh,)))

        cut = jax.tree.map(self._cut, context)
        outputs, lasts = self._each(
            piece, (transition, read), starts, (dxs, moving, fresh), cut
        )
        return join(outputs, length, front=True), lasts[-1]

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> Weights:
        steps = dxs, _all(dxs, moves), None
        return self._starts(transition, theta, steps, every=moves is None)[1]

    def step(
        self,
        transition: AbstractTransition,
        theta: Weights,
        hidden: PyTree,
        dx: Float[Array, " c"],
    ) -> tuple[Weights, PyTree]:
        return self.roll.step(transition, theta, hidden, dx)

    @property
    def _count(self) -> int:
        return self.mesh.shape[self.axis]

    def _cut(self, array: Array) -> Array:
        """Returns the pieces, `(devices, steps, ...)`, filled up in front."""
        missing = -len(array) % self._count
        padded = jnp.pad(array, [(missing, 0)] + [(0, 0)] * (array.ndim - 1))
        return padded.reshape(self._count, -1, *array.shape[1:])

    def _starts(
        self,
        transition: AbstractTransition,
        theta: Weights,
        steps: PyTree[Array],
        *,
        every: bool,
    ) -> tuple[Float[Array, "n p"], Weights]:
        """Returns the state before each piece, and the last one.

        - `every`: whether all steps move but those that fill up, and perhaps the last one:
            then the last state is of no use.
        """
        dxs, moves, fresh = jax.tree.map(self._cut, steps)
        begins = jnp.zeros(self._count, bool)
        if fresh is not None:
            begins = jnp.any(fresh.begins & moves, axis=1)

        def piece(transition, zero, steps):
            dxs, moves, fresh = steps
            given = transition, zero, dxs, None if every else moves
            if fresh is None:
                # What fills up comes first, and leaves a state of zeros alone.
                last = self.roll.last(*given)
            else:
                last = self.roll(*given, lambda states, _: (), (), fresh)[1]
            return last, _gain(transition, dxs) if transition.timed else None

        zeros = jnp.zeros((self._count, *theta.shape), theta.dtype)
        added, gains = self._each(piece, transition, zeros, (dxs, moves, fresh))
        doubles = []
        if not transition.timed:
            # Of one A how many steps there are says all.
            gains, doubles = jnp.sum(moves, axis=1), doubled(transition, dxs.shape[1])

        def jump(state, piece):
            begins, gain, added = piece
            if transition.timed:
                carried = transition.act(gain, state)
            else:
                carried = advanced(transition, doubles, state, gain)
            return choose(begins, added, carried + added), state

        last, starts = lax.scan(jump, theta, (begins, gains, added))
        return starts, last

    def _each(self, piece: Callable[..., Any], held: Any, *parts: PyTree[Array]) -> Any:
        """Returns what a function makes of each piece, on the device that has it.

        - `held`: what all of them need too, handed in: arrays of an enclosing function
            would be said to lie on a mesh of which no axis is named.
        """
        arrays, rest = eqx.partition(held, eqx.is_array)

        def alone(arrays, *parts):
            own = jax.tree.map(lambda a: a[0], parts)
            made = piece(eqx.combine(arrays, rest), *own)
            return jax.tree.map(lambda a: a[None], made)

        spec = PartitionSpec(self.axis)
        mapped = jax.shard_map(
            alone,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), *(spec for _ in parts)),
            out_specs=spec,
            axis_names={self.axis},
            # A roll knows nothing of what varies over devices.
            check_vma=False,
        )
        # Outside `jit` no mesh can run of which one axis alone is named.
        return jax.jit(mapped)(arrays, *parts)


def _all(dxs: Float[Array, "t c"], moves: Mask | None) -> Mask:
    return jnp.ones(len(dxs), bool) if moves is None else moves


def _gain(transition: AbstractTransition, dxs: Float[Array, "t c"]) -> PyTree[Array]:
    """Returns the gain of steps that each take a time of their own."""

    def turn(gain, dx):
        return transition.compose(transition.gain_at(dx), gain), None

    return lax.scan(turn, transition.gain_at(dxs[0]), dxs[1:])[0]
