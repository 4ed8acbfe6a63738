"""state, coordinate -> y, by a law that is identified from sufficient statistics."""

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .._check import check_number
from .._decoder import AbstractDecoder
from .._drive import normal_equations, Products, products, products_size
from .._initial import AbstractInitial
from .._model import WARP
from .._roll import AbstractRoll, AutoRoll
from .._transition import SumTransition
from .._types import Key, Observation, Scalar, ScalarLike, State, Weights
from .features import AbstractFeatures
from .law import Values


# Rounds that take back what the guard of the solution changes.
ROUNDS = 2


class LeastSquaresDecoder(AbstractDecoder):
    r"""Solves $(\Phi^\top \Phi + \Lambda) p = \Phi^\top \Delta$ for the parameters of a law
    that is linear in them (Hoerl and Kennard 1970), and applies the law. The state is the
    sums on both sides, as `Products` and `SumTransition` make them: nothing is learnt, the
    law is *identified*.
    """

    features: AbstractFeatures
    ridge: ScalarLike
    scaled_ridge: ScalarLike
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        features: AbstractFeatures,
        ridge: ScalarLike = 0.0,
        *,
        scaled_ridge: ScalarLike = 0.0,
    ):
        r"""**Arguments:**

        - `features`: what is regressed on what, as `Steps(2)` or `Tokens(8, 1)`.
        - `ridge`: $\lambda$ of the textbook, $\Lambda = \lambda I$, not negative, in the
            unit of the features squared: the noise's variance over the prior's. By default
            0, as is the other one.
        - `scaled_ridge`: the same as a part of each feature's own sum of squares, so that
            no unit matters; by default 0. Both are numbers, or arrays of shape () that are
            trained.

        Where the statistics do not determine the parameters, as at the first steps of a
        sequence, those that they leave open are near zero; nothing becomes infinite.

        **Raises:** `TypeError` for what are no features or no number, `ValueError` for a
        number that is negative or not finite.
        """
        call = "LeastSquaresDecoder(features, ridge)"
        if not isinstance(features, AbstractFeatures):
            raise TypeError(
                f"`{call}` needs features, as `Steps(2)`; got "
                f"{type(features).__name__}: {features!r:.80}."
            )
        self.features = features
        self.ridge = _penalty(call, "ridge", ridge)
        self.scaled_ridge = _penalty(call, "scaled_ridge", scaled_ridge)
        self.state_size = products_size(features.in_size, features.out_size)
        self.out_size = features.out_size

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        return self.features.read(self.solution(state), state, coordinate)

    def solution(self, state: State) -> Float[Array, "n m"]:
        """Returns the regression's solution, of shape `(features, out)`."""
        sizes = self.features.in_size, self.features.out_size
        square, across = normal_equations(state.theta, *sizes)
        return solve(square, across, self.ridge, self.scaled_ridge)

    def parameters(self, state: State) -> Values:
        """Returns what was identified, by the names that the features give."""
        return self.features.parameters(self.solution(state))

    def predict(self, state: State, features: Float[Array, " n"]) -> Float[Array, " y"]:
        """Returns the regression's value at any `features`, `(n,)`: at a key x of `Tokens`
        without a lift these are x itself.
        """
        return features @ self.solution(state)


class FirstProducts(AbstractInitial):
    """The statistics of the first observation alone."""

    features: AbstractFeatures
    state_size: int = eqx.field(static=True)

    def __init__(self, features: AbstractFeatures):
        """**Arguments:**

        - `features`: those of the decoder.
        """
        self.features = features
        self.state_size = products_size(features.in_size, features.out_size)

    def __call__(self, x: Observation, *, key: Key | None = None) -> Weights:
        return products(*self.features.first(x))


def least_squares(
    features: AbstractFeatures,
    ridge: ScalarLike = 0.0,
    *,
    scaled_ridge: ScalarLike = 0.0,
    keep: ScalarLike = 1.0,
    roll: AbstractRoll = AutoRoll(),
) -> WARP:
    """Returns a model that identifies a law from each sequence, by least squares.

    **Arguments:**

    - `features`, `ridge`, `scaled_ridge`: those of `LeastSquaresDecoder`.
    - `keep`: how much of the past a step keeps, in (0, 1], by default 1; below one it
        follows a law that drifts.
    - `roll`: as of `WARP`.

    **Returns:** a `WARP` without anything to train, unless `ridge`, `scaled_ridge` or
    `keep` is an array or the features have weights.

    **Raises:** as `LeastSquaresDecoder`, `TypeError` or `ValueError`; `ValueError` for
    `keep` outside its range.
    """
    decoder = LeastSquaresDecoder(features, ridge, scaled_ridge=scaled_ridge)
    return WARP(
        decoder=decoder,
        transition=SumTransition(decoder.state_size, keep),
        initial=FirstProducts(features),
        drive=Products(pairs=features),
        roll=roll,
    )


def oscillator_constants(M: Float[Array, "2 2"]) -> dict[str, Scalar]:
    r"""Returns `k/m`, in 1/time², and `c/m`, in 1/time, of $\dot{(x, v)} = M (x, v)$: the
    determinant and minus the trace of M, which no scaling of x or v changes.

    **Arguments:**

    - `M`: in 1/time, of shape `(2, 2)`, as `parameters` of a decoder has it.
    """
    return {"k/m": M[0, 0] * M[1, 1] - M[0, 1] * M[1, 0], "c/m": -M[0, 0] - M[1, 1]}


def solve(
    square: Float[Array, "n n"],
    across: Float[Array, "n m"],
    ridge: ScalarLike = 0.0,
    scaled_ridge: ScalarLike = 0.0,
) -> Float[Array, "n m"]:
    """Returns the solution of normal equations that may be singular, of shape `(n, m)`.

    The unknowns are scaled so that the diagonal is one. A guard of some rounding errors on
    it keeps the factors real; iterated (Riley 1955), its effect vanishes wherever the
    equations determine anything.
    """
    n, dtype = len(square), square.dtype
    diagonal = jnp.diagonal(square)
    square = square + jnp.diag(ridge + scaled_ridge * diagonal)
    diagonal = jnp.diagonal(square)
    positive = diagonal > 0
    scale = jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, diagonal, 1.0)), 1.0)
    scaled = scale[:, None] * square * scale[None, :]
    wanted = scale[:, None] * across
    guard = 64 * n * jnp.finfo(dtype).eps
    factor = jsl.cho_factor(scaled + guard * jnp.eye(n, dtype=dtype), lower=True)
    solution = jsl.cho_solve(factor, wanted)
    for _ in range(ROUNDS):
        rest = wanted - jnp.matmul(scaled, solution, precision="highest")
        solution = solution + jsl.cho_solve(factor, rest)
    return scale[:, None] * solution


def _penalty(call: str, name: str, value: ScalarLike) -> ScalarLike:
    if isinstance(value, Array):
        return value
    number = check_number(call, name, value)
    if number < 0:
        raise ValueError(f"`{call}` needs `{name} >= 0`; got {name}={value!r}.")
    return number
