"""the map of one step -> the rate of change."""

import jax.numpy as jnp
from jaxtyping import Array, Float


# Points of the quadrature.
POINTS = 16


def log_one_plus(P: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""Returns $\log(I + P)$ as $\int_0^1 P (I + s P)^{-1} ds$ by a Gauss quadrature, which
    is a Padé approximant (Dieci, Morini and Papini 1996).

    Exact to double precision where the eigenvalues of $I + P$ turn by less than a quarter
    of a circle and shrink by no more than a factor of five; loses all digits for negative
    ones, which no real flow has. It needs no eigenvectors, runs anywhere, and keeps the
    digits of a small P.
    """
    # Golub and Welsch 1969: nodes and weights are those of a tridiagonal matrix.
    n = jnp.arange(1, POINTS, dtype=P.dtype)
    beside = n / jnp.sqrt(4 * n**2 - 1)
    nodes, vectors = jnp.linalg.eigh(jnp.diag(beside, 1) + jnp.diag(beside, -1))
    places, weights = (nodes + 1) / 2, vectors[0] ** 2
    eye = jnp.eye(len(P), dtype=P.dtype)
    systems = eye[None] + places[:, None, None] * P[None]
    parts = jnp.linalg.solve(systems, jnp.broadcast_to(P, systems.shape))
    return jnp.sum(weights[:, None, None] * parts, axis=0)
