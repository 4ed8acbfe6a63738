"""theta_{t-1}, dx_t, elapsed time -> theta_t: A to the power of the time that passed."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_positive
from .._types import Weights
from .base import AbstractTransition, Reduction
from .flow import Flow
from .wrapped import AbstractWrappedTransition


class ContinuousTime(AbstractWrappedTransition):
    r"""Another transition in continuous time: a step over the time $\tau$ is
    $\theta_t = A^{\tau / u}\, \theta_{t-1} + B\,dx_t$, with `unit` as $u$. That is the
    exact solution of $\dot\theta = \frac1u \log(A)\, \theta$ between observations, and
    each observation is a jump by $B\,dx_t$: of `Increments` the equation is driven by the
    path of the observations.

    For observations at irregular times, and forecasts at any. With all steps `unit` long it
    is `transition` itself. Two steps without a jump are one over the time of both, so that
    it matters little at which times a slow signal was observed.

    The elapsed time comes as the last channel of the drive, which `Elapsed` gives:
    `WARP(transition=SubspaceTransition(size, ContinuousTime(modes, unit)),
    drive=Elapsed(Increments()), ...)`.

    What is asked of A alone, its matrix, its poles, is that of one `unit`. It has a power
    for each step, so that rolls by powers of one A, `ChunkedRoll` and
    `ConvolutionRoll`, refuse it; `AutoRoll` takes `SequentialRoll`.
    """

    transition: AbstractTransition
    unit: float = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)

    def __init__(self, transition: AbstractTransition, unit: float):
        """**Arguments:**

        - `transition`: of which A has real powers. `SpectralTransition` and
            `OscillatoryTransition`, as the `dynamics` of a `SubspaceTransition`, have them
            always. A `LowRankTransition`, `DenseTransition` or `BlockDiagonalTransition`
            has them as long as no eigenvalue turns by a quarter of a circle in a step, or
            shrinks to a fifth; `DiagonalTransition` and `SumTransition` as long as they
            stay positive. A power of a dense A is an exponential of a whole matrix for
            each step, of work cubic in the state: for small ones.
        - `unit`: the time that one step of `transition` stands for, in the unit of `ts`,
            positive; usually the mean time between observations.

        **Raises:** `TypeError` for a kind of transition without such powers; where a
        low-rank, dense or block-diagonal A has left their range, a call raises
        `ValueError`.
        """
        call = "ContinuousTime(transition, unit)"
        if not isinstance(transition, AbstractTransition) or not transition.divisible:
            raise TypeError(
                f"`{call}` needs a transition of which A has real powers, as a "
                f"`SpectralTransition`; got {type(transition).__name__}. Of a "
                "`SubspaceTransition` wrap the `dynamics`."
            )
        self.transition = transition
        self.unit = check_positive(call, "unit", unit)
        self.state_size = transition.state_size
        self.input_size = transition.input_size + 1

    @property
    def timed(self) -> bool:
        return True

    def step(self, theta: Weights, dx: Float[Array, " c"]) -> Weights:
        reduction = self.reduce(theta, None)
        if reduction is None:
            return self.act(self.gain_at(dx), theta) + self.inject(dx)
        after = reduction.transition.step(reduction.start, dx)
        return reduction.span.theta(after)

    def reduce(self, theta: Weights, hidden: PyTree) -> Reduction | None:
        """Returns the recurrence in the coefficients of `transition`, if it has such."""
        reduction = self.transition.reduce(theta, hidden)
        if reduction is None:
            return None
        flow = ContinuousTime(Flow.of(reduction.transition), self.unit)
        return Reduction(flow, reduction.start, reduction.span)

    def prepared(self) -> "ContinuousTime":
        """Returns this transition with the logarithm of A, if it takes one, made once."""
        return ContinuousTime(self.transition.flow(), self.unit)

    def gain_at(self, dx: Float[Array, " c"]) -> PyTree[Array]:
        return self.transition.power(dx[-1] / self.unit)

    def inject(self, dx: Float[Array, " c"]) -> Weights:
        return self.transition.inject(dx[:-1])

    def input_matrix(self) -> Float[Array, "p c"]:
        """Returns B as a matrix, of shape `(state, drive)`; elapsed time adds nothing."""
        return jnp.pad(self.transition.input_matrix(), ((0, 0), (0, 1)))
