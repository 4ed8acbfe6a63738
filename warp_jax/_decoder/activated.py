"""state, coordinate -> y, within bounds."""

from collections.abc import Callable

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import check_integer, check_number, check_positive
from .._span import Span
from .._types import on_point, Output, State
from .base import AbstractDecoder


class ActivatedDecoder(AbstractDecoder):
    """Another decoder with a function on its output, such as `jnp.tanh`, `Clip`,
    `NormBound` or `DynamicTanh`. On a Gaussian it acts on the mean.
    """

    decoder: AbstractDecoder
    activation: Callable
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: AbstractDecoder, activation: Callable):
        """**Arguments:**

        - `decoder`: whose output is bounded.
        - `activation`: maps `(out_size,)` to `(out_size,)`; trained if it has weights.
        """
        self.decoder = decoder
        self.activation = activation
        self.state_size = decoder.state_size
        self.out_size = decoder.out_size

    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Output:
        return on_point(self.activation, self.decoder(state, coordinate))

    def spanned(self, span: Span) -> AbstractDecoder:
        return ActivatedDecoder(self.decoder.spanned(span), self.activation)

    @property
    def footprint(self) -> int:
        return self.decoder.footprint


class Gain(eqx.Module):
    """Multiplies each output by a learnt number that starts at zero: what is corrected then
    starts uncorrected (ReZero, Bachlechner et al. 2020, arXiv 2003.04887).
    """

    gain: Float[Array, " y"]

    def __init__(self, size: int, start: float = 0.0):
        """**Arguments:**

        - `size`: how many outputs.
        - `start`: the number at the start, by default 0.

        **Raises:** `ValueError` for a `size` below 1 or a `start` that is not finite,
        `TypeError` for what is no number.
        """
        size = check_integer("Gain(size, start)", "size", size, 1)
        self.gain = jnp.full(size, check_number("Gain(size, start)", "start", start))

    def __call__(self, y: Float[Array, " y"]) -> Float[Array, " y"]:
        return self.gain * y


class Clip(eqx.Module):
    """Clips to [-limit, limit]. The gradient is zero outside: an autoregressive model can
    get stuck there, and `DynamicTanh` does not.
    """

    limit: float = eqx.field(static=True)

    def __init__(self, limit: float):
        """**Arguments:**

        - `limit`: positive, in the output's units.

        **Raises:** `ValueError` for a limit that is not positive and finite, `TypeError`
        for what is no number.
        """
        self.limit = check_positive("Clip(limit)", "limit", limit)

    def __call__(self, y: Float[Array, " y"]) -> Float[Array, " y"]:
        return jnp.clip(y, -self.limit, self.limit)


class NormBound(eqx.Module):
    r"""$y\, (1 + m / \text{limit}^2)^{-1/2}$, where $m$ is the mean of the squares of the
    outputs: keeps their root mean square below `limit` and their ratios as they are, and
    leaves small outputs alone. It is root-mean-square normalisation (Zhang and Sennrich
    2019, arXiv 1910.07467) with `limit` for its gain and `limit` squared for its epsilon.

    For logits: a network whose weights move with the sequence is as sure of itself as these
    are large, and a mean of read-outs goes by the surest of them.
    """

    limit: float = eqx.field(static=True)

    def __init__(self, limit: float):
        """**Arguments:**

        - `limit`: of the root mean square, positive, in the output's units. Logits of 5 are
            as good as sure.

        **Raises:** `ValueError` for a limit that is not positive and finite, `TypeError`
        for what is no number.
        """
        self.limit = check_positive("NormBound(limit)", "limit", limit)

    def __call__(self, y: Float[Array, " y"]) -> Float[Array, " y"]:
        # In units in which no square overflows; which they are has no effect on the result.
        unit = lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(y)), self.limit))
        y, limit = y / unit, self.limit / unit
        return self.limit * y * lax.rsqrt(limit**2 + jnp.mean(y**2))


class DynamicTanh(eqx.Module):
    r"""$\alpha \tanh((y - b) / a) + \beta$, with $a, b, \alpha, \beta$ learnt for each
    output (arXiv 2506.01153, final activations); starts as `limit * tanh(y / limit)`.
    """

    a: Float[Array, " y"]
    b: Float[Array, " y"]
    alpha: Float[Array, " y"]
    beta: Float[Array, " y"]

    def __init__(self, size: int, limit: float = 1.0):
        """**Arguments:**

        - `size`: how many outputs.
        - `limit`: the largest output at the start, positive, in the output's units; by
            default 1.

        **Raises:** `ValueError` for a number outside its range, `TypeError` for what is no
        number.
        """
        call = "DynamicTanh(size, limit)"
        size = check_integer(call, "size", size, 1)
        limit = check_positive(call, "limit", limit)
        self.a = jnp.full(size, limit)
        self.b = jnp.zeros(size)
        self.alpha = jnp.full(size, limit)
        self.beta = jnp.zeros(size)

    def __call__(self, y: Float[Array, " y"]) -> Float[Array, " y"]:
        return self.alpha * jnp.tanh((y - self.b) / self.a) + self.beta
