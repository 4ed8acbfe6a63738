"""A small square matrix -> its eigenvalues, and what brings those too large back."""

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from .._check import is_concrete
from .._types import Scalar


def eigenvalues(matrix: Float[Array, "n n"]) -> Complex[Array, " n"]:
    """Returns the eigenvalues of a real matrix, in single precision at least."""
    matrix = widened(matrix)
    if is_concrete(matrix):
        # Not every device has an eigensolver; the host always does.
        matrix = jax.device_put(matrix, jax.local_devices(backend="cpu")[0])
    return jnp.linalg.eigvals(matrix)


def widened(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Returns a matrix in a precision that has an eigensolver."""
    return matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))


def shrink(values: Array, radius: float) -> Float[Array, "..."]:
    """Returns by what each eigenvalue is multiplied to have a modulus up to `radius`."""
    size = jnp.abs(values)
    return jnp.where(size > radius, radius / jnp.where(size > radius, size, 1), 1)


def bounded_parts(
    a: Scalar, small: Float[Array, "n n"], radius: float
) -> tuple[Scalar, Float[Array, "n n"]]:
    r"""Returns $a'$ and $G$ such that $a' I + U G V^\top$ has the eigenvectors of
    $A = a I + U V^\top$, and its eigenvalues with a modulus of at most `radius`: those
    within it stay, the others keep their phase. `small` is $V^\top U$.

    With $f$ what happens to an eigenvalue, this is $f(A)$: $U G V^\top$ has to be $f(A) -
    f(a) I$, so on an eigenvector of `small` with the eigenvalue $s$, $G$ is
    $(f(a + s) - f(a)) / s$. Where eigenvectors all but coincide there is no such thing in
    finite precision, and all eigenvalues shrink alike.
    """
    given, small = small.dtype, widened(small)

    def largest(a, small):
        return jnp.maximum(jnp.max(jnp.abs(a + jnp.linalg.eigvals(small))), jnp.abs(a))

    def inside():
        return a, jnp.eye(len(small), dtype=small.dtype)

    def outside():
        s, vectors = jnp.linalg.eig(small)
        moved = (a + s) * (shrink(a + s, radius) - 1) - a * (shrink(a, radius) - 1)
        change = jnp.where(s == 0, 0, moved / jnp.where(s == 0, 1, s))
        # Both at once: the change, and the matrix itself, to see whether they can be had.
        sides = jnp.concatenate([vectors * change[None], vectors * s[None]]).T
        change, again = jnp.split(jnp.linalg.solve(vectors.T, sides).T.real, 2)
        error = jnp.linalg.norm(again - small)
        exact = error <= jnp.finfo(small.dtype).eps ** 0.5 * jnp.linalg.norm(small)
        kept = jnp.eye(len(small), dtype=small.dtype)
        kept = kept + jnp.where(exact & jnp.all(jnp.isfinite(change)), change, 0)
        own = jnp.where(exact, a * shrink(a, radius), a)
        scale = shrink(largest(own, small @ kept), radius)
        return scale * own, scale * kept

    a = a.astype(small.dtype)
    a, kept = lax.cond(largest(a, small) > radius, outside, inside)
    return a.astype(given), kept.astype(given)


def bounded_matrix(A: Float[Array, "n n"], radius: float) -> Float[Array, "n n"]:
    """Returns a matrix with its eigenvalues bounded as `bounded_parts` does."""
    # A = 0 I + I A.
    _, mixing = bounded_parts(jnp.zeros((), A.dtype), A, radius)
    return mixing @ A
