"""coefficients, coordinate -> y, without the network's weights where that is cheaper."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._site import AbstractSite
from .._span import Span
from .._types import Scalar
from .._weightspace import WeightSpace
from .held import HeldLayer


class SpannedNetwork(eqx.Module):
    r"""The networks whose weights lie in a span, made from coefficients.

    A linear layer with weights $\sum_i c_i W_i$ is $\sum_i c_i (W_i v)$: one matrix that
    all sequences share, times `c` and `v` of each. Where that holds fewer numbers than
    the layer's own weights it is done so, else the layer's weights are formed.
    """

    parts: PyTree

    def __init__(self, space: WeightSpace, span: Span):
        """**Arguments:** how the network's weights lie in a state, and the span."""
        bases = space.pieces(span.basis)
        origins = [None] * len(bases)
        if span.origin is not None:
            origins = space.pieces(span.origin)

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
        return sum(part.footprint for part in self._prepared())

    @property
    def formed(self) -> bool:
        """Whether any layer is larger than what it is made from."""
        return any(isinstance(part, (_Part, _Layer)) for part in self._prepared())

    def _prepared(self) -> list[Any]:
        leaves = jax.tree.leaves(self.parts, is_leaf=_is_prepared)
        return [part for part in leaves if _is_prepared(part)]

    def __call__(self, weights: Float[Array, " k"], scale: Scalar | None) -> PyTree:
        """Returns the network of the columns' weights and the origin's scale."""

        def at(part: Any) -> Any:
            if isinstance(part, AbstractSite):
                return _SpannedLinear(part, weights, scale)
            return part.at(weights, scale) if isinstance(part, _Part) else part

        return jax.tree.map(at, self.parts, is_leaf=_is_prepared)


class _Leaf:
    """Stands for one array of a network while its layers are being found."""

    def __init__(self, index: int):
        self.index = index


class _Part(eqx.Module):
    """An array of a network that is not a linear layer's: it is formed."""

    basis: Float[Array, "... k"]
    origin: Float[Array, "..."] | None

    @property
    def footprint(self) -> int:
        return math.prod(self.basis.shape[:-1])

    def at(self, weights: Float[Array, " k"], scale: Scalar | None) -> Array:
        """Returns the array."""
        return _with(scale, self.origin, _formed(self.basis, weights))


class _Layer(AbstractSite):
    """A linear layer: the columns' weights, the origin's scale, inputs -> outputs.

    Its bias is one more column of its matrix, which sees a one.
    """

    columns: "_Columns"
    origin: Float[Array, "o i"] | None
    biased: bool = eqx.field(static=True)
    footprint: int = eqx.field(static=True)

    def __init__(self, bases: list[Array], origins: list[Any]):
        def join(arrays: list[Any]) -> Any:
            weight, *bias = arrays
            if weight is None or not bias:
                return weight
            return jnp.concatenate([weight, bias[0][:, None]], axis=1)

        basis, self.origin = join(bases), join(origins)
        self.biased = len(bases) > 1
        rows, width, count = basis.shape
        costs = {_ByInputs: count * width, _ByOutputs: count * rows}
        cheapest = min((_ByMatrix, *costs), key=lambda k: costs.get(k, rows * width))
        self.columns = cheapest(basis)
        self.footprint = self.columns.footprint

    def __call__(
        self, weights: Float[Array, " k"], scale: Scalar | None, v: Float[Array, " i"]
    ) -> Float[Array, " o"]:
        if self.biased:
            v = jnp.concatenate([v, jnp.ones(1, v.dtype)])
        moved = self.columns(weights, v)
        origin = None if self.origin is None else self.origin @ v
        return _with(scale, origin, moved)

    def held(self) -> HeldLayer:
        return HeldLayer(self.columns.basis, self.origin, self.biased)


class _SpannedLinear(eqx.Module):
    """Takes the place of an `equinox.nn.Linear` in a network."""

    layer: AbstractSite
    weights: Float[Array, " k"]
    scale: Scalar | None

    def __call__(self, v: Float[Array, " i"], *, key: Any = None) -> Float[Array, " o"]:
        return self.layer(self.weights, self.scale, v)


class _Columns(eqx.Module):
    """`sum_i c_i W_i v` in one of three ways; holds the matrices laid out for it."""

    basis: eqx.AbstractVar[Float[Array, "o i k"]]
    footprint: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, weights: Array, v: Array) -> Array:
        """Returns the sum, of shape `(outputs,)`."""


class _ByInputs(_Columns):
    """All products of a weight and an input, then one matrix."""

    matrix: Float[Array, "o ik"]
    shape: tuple[int, ...] = eqx.field(static=True)
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        self.shape = basis.shape
        self.matrix = basis.reshape(basis.shape[0], -1)
        self.footprint = self.matrix.shape[1]

    @property
    def basis(self) -> Float[Array, "o i k"]:
        return self.matrix.reshape(self.shape)

    def __call__(self, weights: Array, v: Array) -> Array:
        return self.matrix @ (v[:, None] * weights[None, :]).ravel()


class _ByOutputs(_Columns):
    """One matrix, then the weighted sum of the outputs of each column."""

    matrix: Float[Array, "ok i"]
    shape: tuple[int, ...] = eqx.field(static=True)
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        self.shape = rows, width, count = basis.shape
        self.matrix = jnp.swapaxes(basis, 1, 2).reshape(rows * count, width)
        self.footprint = rows * count

    @property
    def basis(self) -> Float[Array, "o i k"]:
        rows, width, count = self.shape
        return jnp.swapaxes(self.matrix.reshape(rows, count, width), 1, 2)

    def __call__(self, weights: Array, v: Array) -> Array:
        return (self.matrix @ v).reshape(-1, len(weights)) @ weights


class _ByMatrix(_Columns):
    """The layer's own weights, formed."""

    matrix: Float[Array, "k oi"]
    shape: tuple[int, ...] = eqx.field(static=True)
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        self.shape = basis.shape
        self.matrix = basis.reshape(-1, basis.shape[-1]).T
        self.footprint = self.matrix.shape[1]

    @property
    def basis(self) -> Float[Array, "o i k"]:
        return self.matrix.T.reshape(self.shape)

    def __call__(self, weights: Array, v: Array) -> Array:
        return (weights @ self.matrix).reshape(self.shape[:2]) @ v


def _formed(basis: Array, weights: Array) -> Array:
    *shape, count = basis.shape
    return (basis.reshape(-1, count) @ weights).reshape(shape)


def _with(scale: Scalar | None, origin: Array | None, moved: Array) -> Array:
    if origin is None:
        return moved
    return moved + (origin if scale is None else scale * origin)


def _is_prepared(part: Any) -> bool:
    return isinstance(part, (_Part, AbstractSite))


def _is_layer(part: Any) -> bool:
    return isinstance(part, eqx.nn.Linear) and all(
        isinstance(size, int) for size in (part.in_features, part.out_features)
    )
