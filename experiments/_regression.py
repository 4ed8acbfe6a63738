"""contexts -> answers, in closed form: what a model of linear functions compares with."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import warp_jax as wj

from ._data import Contexts


Regression = Callable[[Contexts], Float[np.ndarray, "n q"]]


def ridge(penalty: float = 0.0) -> Regression:
    r"""Returns $x \cdot (X^\top X + \lambda I)^{-1} X^\top y$, in double precision. Without
    a penalty it is ordinary least squares, of the least norm where tokens are few.
    """

    def regression(contexts: Contexts) -> Float[np.ndarray, "n q"]:
        X, y = _tokens(contexts)
        size = X.shape[2]
        # Least squares on the tokens and on rows that say that the weights are zero.
        rows = np.broadcast_to(np.sqrt(penalty) * np.eye(size), (len(X), size, size))
        inverse = np.linalg.pinv(np.concatenate([X, rows], axis=1))[:, :, : X.shape[1]]
        return np.einsum("nqk,nkt,nt->nq", contexts.queries, inverse, y)

    return regression


def gradient_step(fitted: Contexts) -> Regression:
    r"""Returns $x^\top \Gamma X^\top y$: one step of gradient descent from zero on the
    squared error of the tokens, preconditioned by the $\Gamma$ that answers best for so
    many tokens (von Oswald et al. 2023, arXiv 2212.07677, of linear attention).

    - `fitted`: contexts that the preconditioner is fitted to, by least squares; with at
        least as many tokens as those that will be asked.
    """

    def regression(contexts: Contexts) -> Float[np.ndarray, "n q"]:
        inputs = _pairs(fitted.given(contexts.xs.shape[1] - 1))
        targets = fitted.answers.astype(np.float64).ravel()
        rows = inputs.reshape(len(targets), -1)
        return _pairs(contexts) @ np.linalg.lstsq(rows, targets, rcond=None)[0]

    return regression


def _pairs(contexts: Contexts) -> Float[np.ndarray, "n q m"]:
    """Returns all products of a query's entries and the gradient's."""
    X, y = _tokens(contexts)
    gradient = np.einsum("ntk,nt->nk", X, y)
    pairs = np.einsum("nqk,nl->nqkl", contexts.queries, gradient)
    return pairs.reshape(*pairs.shape[:2], -1)


class KeyTokens(wj.physics.Tokens):
    """The same regression, read at the coordinate as a key, and not at the latest token.
    What a sequence begins with is no token.
    """

    def __init__(self, keys: int, lift: Callable | None = None):
        super().__init__(keys, 1, lift=lift)

    def __call__(self, before, now):
        return super().first(now)

    def first(self, x):
        return jnp.zeros(self.in_size, x.dtype), jnp.zeros(self.out_size, x.dtype)

    def read(self, solution, state, coordinate):
        return self.features(coordinate) @ solution


def _tokens(contexts: Contexts) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys and the values of the tokens, without the row of zeros."""
    tokens = contexts.xs[:, 1:].astype(np.float64)
    return tokens[..., :-1], tokens[..., -1]
