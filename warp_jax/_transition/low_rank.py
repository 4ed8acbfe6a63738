"""A as a multiple of the identity plus a product of two thin matrices."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float, Int, PyTree

from .._check import check_integer, check_positive
from .._span import Span
from .._types import Key, Scalar, Weights
from .base import AbstractTransition, check_sizes, Reduction
from .eigen import bounded_parts, eigenvalues


class LowRankTransition(AbstractTransition):
    r"""`A = a I + U Vᵀ` and a full B: memory and work linear in the state.

    With A at the identity the state would only hold `x_t - x_0`: what is remembered of the
    path between lies in the low-rank part. So `a` starts at one and B at zero, as in the
    paper, but A as a rotation: `rank / 2` random orthogonal planes turn, each by its own
    angle, uniformly between 0 and `cycles` full turns over a sequence. A rotation neither
    grows nor decays, so the state starts stable whatever the length is.

    Rolls take it through a sequence in `2 rank + drive + 1` coefficients, see `reduce`.
    """

    a: Float[Array, ""]
    U: Float[Array, "p r"]
    V: Float[Array, "p r"]
    B: Float[Array, "p c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)

    def __init__(
        self,
        state_size: int,
        input_size: int,
        rank: int,
        *,
        key: Key,
        length: int | None = None,
        cycles: float = 10.0,
    ):
        """**Arguments:**

        - `state_size`, `input_size`: the lengths of the state and of the drive.
        - `rank`: columns of `U` and `V`, at most `state_size`.
        - `key`: for the initial `U` and `V`.
        - `length`: how many steps the sequences have, roughly; by default 100. The angles
            of a step, at most half a turn, are scaled by `1 / length`.
        - `cycles`: full turns of the fastest plane over `length` steps, by default 10: the
            finest detail that is told apart at the start. Choose it on validation data.

        **Raises:** `ValueError` for a number outside its range, as a rank above the
        state's size; `TypeError` for what is no number.
        """
        self.state_size, self.input_size = check_sizes(
            "LowRankTransition", state_size, input_size
        )
        call = "LowRankTransition(state_size, input_size, rank, length)"
        self.rank = check_integer(call, "rank", rank, 1)
        if self.rank > self.state_size:
            raise ValueError(
                f"`{call}` needs `rank <= state_size`; got rank={rank} and "
                f"state_size={state_size}."
            )
        length = 100 if length is None else check_integer(call, "length", length, 1)
        cycles = check_positive(call, "cycles", cycles)
        u_key, v_key = jr.split(key)
        planes = self.rank // 2
        basis = jnp.linalg.qr(jr.normal(u_key, (self.state_size, self.rank)))[0]
        fastest = min(2 * math.pi * cycles / length, math.pi)
        angles = jr.uniform(v_key, (planes,), maxval=fastest)
        p, q, rest = jnp.split(basis, (planes, 2 * planes), axis=1)
        cos, sin = jnp.cos(angles)[None] - 1, jnp.sin(angles)[None]
        self.a = jnp.ones(())
        self.U = basis
        # An odd column has no plane to turn in: it starts without effect.
        self.V = jnp.concatenate(
            [cos * p - sin * q, sin * p + cos * q, 0 * rest], axis=1
        )
        self.B = jnp.zeros((self.state_size, self.input_size))

    def apply(self, theta: Weights) -> Weights:
        return self.a * theta + self.U @ (theta @ self.V)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.B @ dx

    def matrix(self) -> Float[Array, "p p"]:
        scaled = self.a * jnp.eye(self.state_size, dtype=self.a.dtype)
        return scaled + self.U @ self.V.T

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.B

    @property
    def divisible(self) -> bool:
        """Whether A has real powers: in coefficients, where these are the fewer."""
        return 2 * self.rank + self.input_size + 1 < self.state_size

    def poles(self) -> tuple[Complex[Array, " n"], Int[Array, " n"]]:
        # U Vᵀ has the eigenvalues of VᵀU, and nothing besides.
        values, rest = eigenvalues(self.V.T @ self.U), self.state_size - self.rank
        own = jnp.zeros(min(rest, 1), values.dtype)
        times = jnp.append(jnp.ones(self.rank, int), jnp.full(len(own), rest))
        return self.a + jnp.append(values, own), times

    def bounded(self, radius: float) -> "LowRankTransition":
        a, mixing = bounded_parts(self.a, self.V.T @ self.U, radius)
        return eqx.tree_at(lambda t: (t.a, t.U), self, (a, self.U @ mixing))

    def reduce(self, theta: Weights, hidden: PyTree) -> Reduction | None:
        r"""Returns the recurrence of the coefficients in
        $\theta_t = s_t \theta_0 + U q_t + B z_t$, beside which rolls $w_t = V^\top
        \theta_t$; `None` where they are no fewer than the weights.
        """
        if not self.divisible:
            return None
        mixing = self.V.T @ self.U, self.V.T @ self.B
        span = Span(
            jnp.concatenate([self.U, self.B], axis=1),
            theta,
            skip=self.rank,
            scaled=True,
        )
        rest = jnp.zeros(self.rank + self.input_size, theta.dtype)
        start = jnp.concatenate([theta @ self.V, rest, jnp.ones(1, theta.dtype)])
        return Reduction(LowRankCoefficients(self.a, *mixing), start, span)


class LowRankCoefficients(AbstractTransition):
    r"""What `a I + U Vᵀ` and B do to $(w, q, z, s)$:

    $w_t = (a I + V^\top U) w_{t-1} + V^\top B\,dx_t$, $q_t = a q_{t-1} + w_{t-1}$,
    $z_t = a z_{t-1} + dx_t$ and $s_t = a s_{t-1}$.
    """

    a: Scalar
    VU: Float[Array, "r r"]
    VB: Float[Array, "r c"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, a: Scalar, VU: Float[Array, "r r"], VB: Float[Array, "r c"]):
        """**Arguments:** the scale, and what `V` sees of `U` and of `B`."""
        self.a, self.VU, self.VB = a, VU, VB
        rank, self.input_size = VB.shape
        self.state_size = 2 * rank + self.input_size + 1

    def apply(self, theta: Weights) -> Weights:
        rank = len(self.VU)
        w = theta[:rank]
        rest = jnp.zeros(self.input_size + 1, theta.dtype)
        return self.a * theta + jnp.concatenate([self.VU @ w, w, rest])

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        rank = len(self.VU)
        between, last = jnp.zeros(rank, dx.dtype), jnp.zeros(1, dx.dtype)
        return jnp.concatenate([self.VB @ dx, between, dx, last])

    def matrix(self) -> Float[Array, "p p"]:
        return jax.vmap(self.apply, 1, 1)(jnp.eye(self.state_size, dtype=self.VU.dtype))

    def input_matrix(self) -> Float[Array, "p c"]:
        return jax.vmap(self.inject, 1, 1)(
            jnp.eye(self.input_size, dtype=self.VB.dtype)
        )
