"""coefficients, coordinate -> y, without the network's weights where that is cheaper."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._site import AbstractSite
from .._span import combined, separate, Span
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
        bases, origins = space.pieces(span.basis), space.pieces(span.origin)

        def prepare(part: Any) -> Any:
            if isinstance(part, _Leaf):
                return _Part(bases[part.index], origins[part.index])
            if not _is_layer(part):
                return part
            places = [
                leaf.index for leaf in (part.weight, part.bias) if leaf is not None
            ]
            both = [[pieces[i] for i in places] for pieces in (bases, origins)]
            return _Layer(*both, folded=span.shared and span.scaled)

        network = space.assemble([_Leaf(i) for i in range(len(bases))])
        self.parts = jax.tree.map(prepare, network, is_leaf=_is_layer)

    @property
    def footprint(self) -> int:
        """Numbers that one run of the network holds, roughly."""
        return sum(part.footprint for part in self._prepared())

    @property
    def formed(self) -> bool:
        """Whether it forms its layers itself: no scan has taken their calls out."""
        sites = [part for part in self._prepared() if isinstance(part, AbstractSite)]
        return not sites or any(isinstance(site, _Layer) for site in sites)

    def _prepared(self) -> list[Any]:
        leaves = jax.tree.leaves(self.parts, is_leaf=_is_prepared)
        return [part for part in leaves if _is_prepared(part)]

    def __call__(self, weights: Float[Array, " n"]) -> PyTree:
        """Returns the network of the columns' weights, and of the origin's scale behind
        them if there is one.
        """

        def at(part: Any) -> Any:
            if isinstance(part, AbstractSite):
                return _SpannedLinear(part, weights)
            if isinstance(part, _Part):
                return combined(part.basis, part.origin, weights)
            return part

        return jax.tree.map(at, self.parts, is_leaf=_is_prepared)


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


class _Layer(AbstractSite):
    """A linear layer: weights, inputs -> outputs.

    Its bias is one more column of its matrix, which sees a one.
    """

    columns: "_Columns"
    origin: Float[Array, "o i"] | None
    biased: bool = eqx.field(static=True)
    folded: bool = eqx.field(static=True)
    count: int = eqx.field(static=True)
    footprint: int = eqx.field(static=True)

    def __init__(self, bases: list[Array], origins: list[Array], *, folded: bool):
        """**Arguments:** what the layer's matrix and its bias, if there is one, are made
        from, and whether the origins are scaled ones that all sequences share: just one
        more column.
        """
        basis, self.origin = bases[0], origins[0]
        self.biased, self.folded = len(bases) > 1, folded
        if self.biased:
            basis = jnp.concatenate([basis, bases[1][:, None]], axis=1)
            self.origin = jnp.concatenate([self.origin, origins[1][:, None]], axis=1)
        self.columns, self.count = _cheapest(basis), basis.shape[-1]
        self.footprint = self.columns.footprint

    def __call__(
        self, weights: Float[Array, " n"], v: Float[Array, " i"]
    ) -> Float[Array, " o"]:
        if self.biased:
            v = jnp.concatenate([v, jnp.ones(1, v.dtype)])
        if self.origin is None:
            return self.columns(weights, v)
        columns, scale = separate(weights, self.count)
        first = self.origin @ v
        return self.columns(columns, v) + (first if scale is None else scale * first)

    def prepared(self) -> "_Layer":
        if self.origin is None or not self.folded:
            return self
        basis = jnp.concatenate([self.columns.basis, self.origin[..., None]], axis=-1)
        parts = lambda layer: (layer.columns, layer.origin)  # noqa: E731
        return eqx.tree_at(parts, self, (_cheapest(basis), None))

    def held(self) -> HeldLayer:
        return HeldLayer(self.columns.basis, self.origin, self.biased)


class _SpannedLinear(eqx.Module):
    """Takes the place of an `equinox.nn.Linear` in a network."""

    layer: AbstractSite
    weights: Float[Array, " n"]

    def __call__(self, v: Float[Array, " i"], *, key: Any = None) -> Float[Array, " o"]:
        return self.layer(self.weights, v)


class _Columns(eqx.Module):
    """`sum_i c_i W_i v` in one of three ways; holds the matrices laid out for it."""

    footprint: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def basis(self) -> Float[Array, "o i k"]:
        """The matrices, as they came."""

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

    matrices: Float[Array, "o i k"]
    footprint: int = eqx.field(static=True)

    def __init__(self, basis: Float[Array, "o i k"]):
        self.matrices = basis
        self.footprint = math.prod(basis.shape[:2])

    @property
    def basis(self) -> Float[Array, "o i k"]:
        return self.matrices

    def __call__(self, weights: Array, v: Array) -> Array:
        *shape, count = self.matrices.shape
        return (self.matrices.reshape(-1, count) @ weights).reshape(shape) @ v


def _cheapest(basis: Float[Array, "o i k"]) -> _Columns:
    rows, width, count = basis.shape
    costs = {_ByInputs: count * width, _ByOutputs: count * rows}
    return min((_ByMatrix, *costs), key=lambda k: costs.get(k, rows * width))(basis)


def _is_prepared(part: Any) -> bool:
    return isinstance(part, (_Part, AbstractSite))


def _is_layer(part: Any) -> bool:
    return isinstance(part, eqx.nn.Linear) and all(
        isinstance(size, int) for size in (part.in_features, part.out_features)
    )
