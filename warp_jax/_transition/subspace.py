"""A state that moves in a learnt subspace, by the dynamics of its coefficients."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float, Int, PyTree

from .._check import check_integer
from .._span import Span
from .._types import Key, Weights
from .base import AbstractTransition, Reduction


class SubspaceTransition(AbstractTransition):
    r"""`theta_t = theta_0 + P c_t`, where the few coefficients move by any small
    transition, `c_t = Ã c_{t-1} + B̃ dx_t` from `c_0 = 0`.

    Work and memory of a step do not depend on the size of the state. `c_t` depends on
    theta_t and theta_0 both, so a streamed `State` keeps it, as `hidden`.
    """

    P: Float[Array, "p k"]
    dynamics: AbstractTransition
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, state_size: int, dynamics: AbstractTransition, *, key: Key):
        """**Arguments:**

        - `state_size`: the length of the state, at least that of the coefficients.
        - `dynamics`: the transition of the coefficients, as a `SpectralTransition`.
        - `key`: for the initial columns of `P`, which start orthonormal.

        **Raises:** `TypeError` for `dynamics` that are no transition or keep something
        beside their state, or a size that is no whole number; `ValueError` for one below
        that of the coefficients.
        """
        call = "SubspaceTransition(state_size, dynamics)"
        if not isinstance(dynamics, AbstractTransition):
            raise TypeError(
                f"`{call}` needs a transition for `dynamics`; got "
                f"{type(dynamics).__name__}: {dynamics!r:.80}."
            )
        if dynamics.init(jnp.zeros(dynamics.state_size)) is not None:
            raise TypeError(
                f"`{call}` needs `dynamics` that keep nothing beside their state; got a "
                f"{type(dynamics).__name__}. Use its own `dynamics`."
            )
        self.state_size = check_integer(call, "state_size", state_size, 1)
        self.input_size = dynamics.input_size
        if dynamics.state_size > self.state_size:
            raise ValueError(
                f"`{call}` needs no more coefficients than `state_size`; got "
                f"{dynamics.state_size} coefficients and state_size={state_size}."
            )
        shape = self.state_size, dynamics.state_size
        self.P = jnp.linalg.qr(jr.normal(key, shape))[0]
        self.dynamics = dynamics

    @property
    def timed(self) -> bool:
        return self.dynamics.timed

    def init(self, theta: Weights, *, key: Key | None = None) -> PyTree:
        return jnp.zeros(self.dynamics.state_size, theta.dtype)

    def advance(
        self, theta: Weights, hidden: PyTree, dx: Float[Array, " c"]
    ) -> tuple[Weights, PyTree]:
        after = self.dynamics.step(hidden, dx)
        return theta + self.P @ (after - hidden), after

    def reduce(self, theta: Weights, hidden: PyTree) -> Reduction:
        span = Span(self.P, theta - self.P @ hidden)
        return Reduction(self.dynamics, hidden, span)

    def poles(self) -> tuple[Complex[Array, " n"], Int[Array, " n"]]:
        """Returns those of the dynamics, and 1 for each direction that never moves."""
        values, times = self.dynamics.poles()
        still = self.state_size - self.dynamics.state_size
        own = jnp.ones(min(still, 1), values.dtype)
        return jnp.append(values, own), jnp.append(times, jnp.full(len(own), still))

    def bounded(self, radius: float) -> "SubspaceTransition":
        """Bounds the dynamics; what never moves stays as it is."""
        return eqx.tree_at(lambda t: t.dynamics, self, self.dynamics.bounded(radius))

    def apply(self, theta: Weights) -> Weights:
        """Returns `A` times a displacement from the initial state, of shape `(state,)`."""
        c = jnp.linalg.pinv(self.P) @ theta
        return theta + self.P @ (self.dynamics.apply(c) - c)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.P @ self.dynamics.inject(dx)

    def matrix(self) -> Float[Array, "p p"]:
        """Returns A of `theta_t - theta_0 = A (theta_{t-1} - theta_0) + B dx_t`, of shape
        `(state, state)`: the identity but for the subspace.
        """
        size = self.dynamics.state_size
        change = self.dynamics.matrix() - jnp.eye(size, dtype=self.P.dtype)
        moving = self.P @ change @ jnp.linalg.pinv(self.P)
        return jnp.eye(self.state_size, dtype=self.P.dtype) + moving

    def input_matrix(self) -> Float[Array, "p c"]:
        return self.P @ self.dynamics.input_matrix()
