"""coefficients, coordinate -> y, without the network's weights where that is cheaper."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._span import Span
from .._types import Scalar
from .._weightspace import WeightSpace


class SpannedNetwork(eqx.Module):
    r"""The networks whose weights lie in a span, made from coefficients.

    A linear layer with weights $\sum_i c_i W_i$ is $\sum_i c_i (W_i v)$: one matrix that
    all sequences share, times `c` and `v` of each. Where that holds fewer numbers than
    the layer's own weights it is done so, else the layer's weights are formed.
    """

    parts: PyTree

    def __init__(self, space: WeightSpace, span: Span):
        """**Arguments:** how the network's weights lie in a state, and the span."""
        bases, origins = space.pieces(span.basis), space.pieces(span.origin)

        def prepare(part: Any) -> Any:
            if isinstance(part, _Leaf):
                return _Part(bases[part.index], origins[part.index])
            if not _is_layer(part):
                return part
            places = [
                leaf.index for leaf in (part.weight, part.bias) if leaf is not None
            ]
            return _Layer([bases[i] for i in places], [origins[i] for i in places])

        network = space.assemble([_Leaf(i) for i in range(len(bases))])
        self.parts = jax.tree.map(prepare, network, is_leaf=_is_layer)

    @property
    def footprint(self) -> int:
        """Numbers that one run of the network holds, roughly."""
        parts = jax.tree.leaves(self.parts, is_leaf=_is_prepared)
        return sum(part.footprint for part in parts if _is_prepared(part))

    def __call__(self, weights: Float[Array, " k"], scale: Scalar | None) -> PyTree:
        """Returns the network of the columns' weights and the origin's scale."""
        return jax.tree.map(
            lambda part: part.at(weights, scale) if _is_prepared(part) else part,
            self.parts,
            is_leaf=_is_prepared,
        )


class _Leaf:
    """Stands for one array of a network while its layers are being found."""

    def __init__(self, index: int):
        self.index = index


class _Part(eqx.Module):
    """An array of a network that is not a linear layer's: it is formed."""

    basis: Float[Array, "... k"]
    origin: Float[Array, "..."]

    @property
    def footprint(self) -> int:
        return self.origin.size

    def at(self, weights: Float[Array, " k"], scale: Scalar | None) -> Array:
        """Returns the array."""
        return _formed(self.basis, weights) + _scaled(scale, self.origin)


class _Layer(eqx.Module):
    """A linear layer. Its bias is one more column of its matrix, which sees a one."""

    columns: "_Columns"
    origin: Float[Array, "o i"]
    biased: bool = eqx.field(static=True)

    def __init__(self, bases: list[Array], origins: list[Array]):
        basis, self.origin = bases[0], origins[0]
        self.biased = len(bases) > 1
        if self.biased:
            basis = jnp.concatenate([basis, bases[1][:, None]], axis=1)
            self.origin = jnp.concatenate([self.origin, origins[1][:, None]], axis=1)
        rows, width, count = basis.shape
        costs = {_ByInputs: count * width, _ByOutputs: count * rows}
        cheapest = min((_ByMatrix, *costs), key=lambda k: costs.get(k, rows * width))
        self.columns = cheapest(basis)

    @property
    def footprint(self) -> int:
        return self.columns.footprint

    def at(self, weights: Float[Array, " k"], scale: Scalar | None) -> "_SpannedLinear":
        """Returns what takes the layer's place in the network."""
        return _SpannedLinear(self, weights, scale)


class _SpannedLinear(eqx.Module):
    """Takes the place of an `equinox.nn.Linear` in a network."""

    layer: _Layer
    weights: Float[Array, " k"]
    scale: Scalar | None

    def __call__(self, v: Float[Array, " i"], *, key: Any = None) -> Float[Array, " o"]:
        if self.layer.biased:
            v = jnp.concatenate([v, jnp.ones(1, v.dtype)])
        moved = self.layer.columns(self.weights, v)
        return moved + _scaled(self.scale, self.layer.origin @ v)


class _Columns(eqx.Module):
    """`sum_i c_i W_i v` in one of three ways; holds the matrices laid out for it."""

    footprint: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, weights: Array, v: Array) -> Array:
        """Returns the sum, of shape `(outputs,)`."""


class _ByInputs(_Columns):
    """All products of a weight and an input, then one matrix."""

    matrix: Float[Array, "o ik"]
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        self.matrix = basis.reshape(basis.shape[0], -1)
        self.footprint = self.matrix.shape[1]

    def __call__(self, weights: Array, v: Array) -> Array:
        return self.matrix @ (v[:, None] * weights[None, :]).ravel()


class _ByOutputs(_Columns):
    """One matrix, then the weighted sum of the outputs of each column."""

    matrix: Float[Array, "ok i"]
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        rows, width, count = basis.shape
        self.matrix = jnp.swapaxes(basis, 1, 2).reshape(rows * count, width)
        self.footprint = rows * count

    def __call__(self, weights: Array, v: Array) -> Array:
        return (self.matrix @ v).reshape(-1, len(weights)) @ weights


class _ByMatrix(_Columns):
    """The layer's own weights, formed."""

    basis: Float[Array, "o i k"]
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        self.basis = basis
        self.footprint = math.prod(basis.shape[:2])

    def __call__(self, weights: Array, v: Array) -> Array:
        return _formed(self.basis, weights) @ v


def _formed(basis: Array, weights: Array) -> Array:
    *shape, count = basis.shape
    return (basis.reshape(-1, count) @ weights).reshape(shape)


def _scaled(scale: Scalar | None, array: Array) -> Array:
    return array if scale is None else scale * array


def _is_prepared(part: Any) -> bool:
    return isinstance(part, (_Part, _Layer))


def _is_layer(part: Any) -> bool:
    return isinstance(part, eqx.nn.Linear) and all(
        isinstance(size, int) for size in (part.in_features, part.out_features)
    )
