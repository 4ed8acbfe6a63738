"""theta_t = theta_0 + P (keep * c_t), some modes left out of a sequence in training."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PyTree

from .._check import check_number
from .._span import Span
from .._types import Key, Weights
from .base import Reduction
from .subspace import SubspaceTransition
from .wrapped import AbstractWrappedTransition


class Dropped(eqx.Module):
    """What `ModeDropout` keeps beside the weights of a sequence in training.

    - `coefficients`: those of the subspace, all of them, of shape `(coefficients,)`.
    - `keep`: what each counts in the weights, 0 or `1 / (1 - rate)`, of the same shape.
    """

    coefficients: Float[Array, " k"]
    keep: Float[Array, " k"]


class ModeDropout(AbstractWrappedTransition):
    r"""Leaves whole modes of a `SubspaceTransition` out of a sequence, wherever a key is
    given (dropout, Srivastava et al. 2014, of what the sequence's network is made from).

    $\theta_t = \theta_0 + P (m \odot c_t)$, where each mode's $m$ is 0 with the chance
    `rate` and else $1 / (1 - \text{rate})$: drawn once for a sequence, so that it reads
    one network throughout. The numbers of a complex mode are dropped together.

    A model hands the key of `model(xs, key=key)` on, so a training loss that gives one
    drops modes, and without one this is `transition` to the last bit. A streamed `State`
    that began with a key keeps its choice. A, its powers and its poles are those of nothing
    dropped.
    """

    transition: SubspaceTransition
    rate: float = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, transition: SubspaceTransition, rate: float):
        """**Arguments:**

        - `transition`: what drops modes of its `dynamics`. Where these mix their numbers,
            as dense ones do, a number that is dropped still moves the others.
        - `rate`: the chance that a mode is dropped, in [0, 1). The more modes there are,
            the higher it may be; choose it on validation data.

        **Raises:** `TypeError` for another kind of transition, `ValueError` for a rate
        outside its range.
        """
        call = "ModeDropout(transition, rate)"
        if not isinstance(transition, SubspaceTransition):
            raise TypeError(
                f"`{call}` needs a `SubspaceTransition`, which has modes to drop; got a "
                f"{type(transition).__name__}."
            )
        self.rate = check_number(call, "rate", rate)
        if not 0 <= self.rate < 1:
            raise ValueError(f"`{call}` needs 0 <= rate < 1; got rate={rate!r}.")
        self.transition = transition  # pyright: ignore[reportIncompatibleVariableOverride]
        self.state_size = transition.state_size
        self.input_size = transition.input_size

    def init(self, theta: Weights, *, key: Key | None = None) -> PyTree:
        hidden = self.transition.init(theta)
        if key is None:
            return hidden
        dynamics = self.transition.dynamics
        # In single precision always: a key means one choice whatever the weights are.
        chance = jnp.asarray(1 - self.rate, jnp.float32)
        drawn = jr.bernoulli(key, chance, (dynamics.modes,))
        keep = drawn.astype(hidden.dtype) / (1 - self.rate)
        return Dropped(hidden, jnp.tile(keep, dynamics.state_size // dynamics.modes))

    def advance(
        self, theta: Weights, hidden: PyTree, dx: Float[Array, " c"]
    ) -> tuple[Weights, PyTree]:
        if not isinstance(hidden, Dropped):
            return self.transition.advance(theta, hidden, dx)
        after = self.transition.dynamics.step(hidden.coefficients, dx)
        moved = hidden.keep * (after - hidden.coefficients)
        return theta + self.transition.P @ moved, Dropped(after, hidden.keep)

    def kept(self, hidden: PyTree, coefficients: Array) -> PyTree:
        if not isinstance(hidden, Dropped):
            return self.transition.kept(hidden, coefficients)
        return Dropped(coefficients, hidden.keep)

    def reduce(self, theta: Weights, hidden: PyTree) -> Reduction | None:
        if not isinstance(hidden, Dropped):
            return self.transition.reduce(theta, hidden)
        dynamics, P = self.transition.dynamics, self.transition.P
        origin = theta - P @ (hidden.keep * hidden.coefficients)
        # Weights are dropped, not columns: one matrix serves the whole batch.
        span = Span(P, origin, keep=hidden.keep)
        return Reduction(dynamics, hidden.coefficients, span)
