"""weights, v -> y: a layer in a span for a scan, without a gradient in its matrices."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._span import separate


class HeldLayer(eqx.Module):
    """A linear layer in a span, as one turn of a scan wants it for a batch of sequences.

    Under `jax.vmap` every array keeps the sequences last, next to each other, so that no
    turn moves memory about: products are made by `lax.dot_general`, whose second operand's
    axes come last, where broadcasting would put the sequences first.
    """

    matrix: Float[Array, "o k i"]
    back: Float[Array, "..."]
    bias: Float[Array, "o k"] | None
    origin: Float[Array, "o i"] | None
    first: Float[Array, " o"] | None

    def __init__(
        self,
        basis: Float[Array, "o i k"],
        origin: Float[Array, "o i"] | None,
        biased: bool,
    ):
        """**Arguments:** the matrices that are weighed, one that is added to these or
        `None`, and whether their last inputs are those that a bias sees.
        """
        basis, origin = lax.stop_gradient((basis, origin))
        self.bias = self.first = None
        if biased:
            basis, self.bias = basis[:, :-1], basis[:, -1]
            if origin is not None:
                origin, self.first = origin[:, :-1], origin[:, -1]
        self.origin = origin
        self.matrix = jnp.swapaxes(basis, 1, 2)
        # Laid out once for the backward pass, and not in every turn of it.
        ends = (2, 0) if self._by_outputs else (0, 2)
        self.back = jnp.moveaxis(self.matrix, *ends)

    def __call__(
        self, weights: Float[Array, " n"], v: Float[Array, " i"]
    ) -> Float[Array, " o"]:
        columns, scale = separate(weights, self.matrix.shape[1])
        y = self._moved(columns, v)
        if self.bias is not None:
            y = y + self.bias @ columns
        if self.origin is None:
            return y
        first = self.origin @ v
        if self.first is not None:
            first = first + self.first
        return y + (first if scale is None else scale * first)

    def _moved(self, weights: Array, v: Array) -> Array:
        if self.matrix.shape[2] == 1:
            return self.matrix[:, :, 0] @ weights * v[0]
        by = _by_outputs if self._by_outputs else _by_inputs
        return by(self.matrix, self.back, weights, v)

    @property
    def _by_outputs(self) -> bool:
        rows, _, width = self.matrix.shape
        return rows < width


# Each of both holds the fewer products: of a weight and an input, or of one and an output.


@jax.custom_vjp
def _by_inputs(
    matrix: Float[Array, "o k i"], back: Float[Array, "k i o"], weights: Array, v: Array
) -> Array:
    """Returns `sum_ki matrix[:, k, i] weights[k] v[i]`, of shape `(outputs,)`."""
    products = _rows(weights, len(v)) * _columns(len(weights), v)
    return _contract(matrix, products, (1, 2))


def _by_inputs_forward(matrix, back, weights, v):
    return _by_inputs(matrix, back, weights, v), (back, weights, v)


def _by_inputs_backward(residuals, slope):
    back, weights, v = residuals
    slopes = _contract(back, slope, (2,))
    to_weights = jnp.sum(slopes * _columns(len(weights), v), 1)
    return None, None, to_weights, jnp.sum(slopes * _rows(weights, len(v)), 0)


_by_inputs.defvjp(_by_inputs_forward, _by_inputs_backward)


@jax.custom_vjp
def _by_outputs(
    matrix: Float[Array, "o k i"], back: Float[Array, "i o k"], weights: Array, v: Array
) -> Array:
    """Returns the same."""
    return jnp.sum(_contract(matrix, v, (2,)) * _columns(len(matrix), weights), 1)


def _by_outputs_forward(matrix, back, weights, v):
    return _by_outputs(matrix, back, weights, v), (matrix, back, weights, v)


def _by_outputs_backward(residuals, slope):
    matrix, back, weights, v = residuals
    slopes = _rows(slope, len(weights))
    to_weights = jnp.sum(_contract(matrix, v, (2,)) * slopes, 0)
    products = slopes * _columns(len(slope), weights)
    return None, None, to_weights, _contract(back, products, (1, 2))


_by_outputs.defvjp(_by_outputs_forward, _by_outputs_backward)


def _contract(matrix: Array, other: Array, axes: tuple[int, ...]) -> Array:
    """Returns the product over all of `other` and these axes of a matrix."""
    all_axes = tuple(range(len(axes)))
    return lax.dot_general(matrix, other, ((axes, all_axes), ((), ())))


def _rows(v: Float[Array, " n"], count: int) -> Float[Array, "n {count}"]:
    """Returns a vector as each column of a matrix."""
    return _times(jnp.ones((len(v), count), v.dtype), v, ((0,), (0,)))


def _columns(count: int, v: Float[Array, " n"]) -> Float[Array, "{count} n"]:
    """Returns a vector as each row of a matrix."""
    # First the sequences that `jax.vmap` may have added are put last.
    v = _times(jnp.ones_like(v), v, ((0,), (0,)))
    return _times(jnp.ones(count, v.dtype), v, ((), ()))


def _times(
    ones: Array, v: Array, batch: tuple[tuple[int, ...], tuple[int, ...]]
) -> Array:
    # Accelerators round what goes into a product, unless it is to be exact.
    exact = lax.Precision.HIGHEST
    return lax.dot_general(ones, v, (((), ()), batch), precision=exact)
