"""features of a place -> a differential equation that is identified."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import warp_jax as wj


class Flow(wj.physics.AbstractFeatures):
    r"""$\dot x = P^\top \phi(x)$, identified from $x_{t+1} - x_t \approx P^\top
    \tfrac{h}{2} (\phi(x_t) + \phi(x_{t+1}))$, the trapezoidal rule, and carried on by one
    step of Tsitouras' method of order 5.

    A step of `Steps` with a `lift` is Euler's, which is worse by an order in h.

    - `lift`: gives the features beside a constant, `(size,) -> (in_size - 1,)`.
    - `in_size`, `out_size`: how many features there are, and channels of x.
    - `dt`: h, the time between two observations, in the unit of `ts`.
    - `limit`: where features are cut off, so that a forecast stays finite whatever was
        identified: a wrong law may run away.
    """

    lift: Callable
    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    limit: float = eqx.field(static=True, default=10.0)

    @staticmethod
    def of(lift: Callable, size: int, *, dt: float) -> "Flow":
        """Returns the flow of `size` channels with these features."""
        zeros = jax.ShapeDtypeStruct((size,), jnp.result_type(float))
        features = eqx.filter_eval_shape(lift, zeros)
        return Flow(lift=lift, in_size=1 + features.shape[0], out_size=size, dt=dt)

    def features(self, x: Float[Array, " c"]) -> Float[Array, " n"]:
        r"""Returns $\phi$, of shape `(in_size,)`."""
        return jnp.append(self.lift(x), jnp.ones((), x.dtype))

    def __call__(
        self, before: Float[Array, " c"], now: Float[Array, " c"]
    ) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        between = (self.features(before) + self.features(now)) / 2
        return self.dt * between, now - before

    def first(
        self, x: Float[Array, " c"]
    ) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        return jnp.zeros(self.in_size, x.dtype), jnp.zeros(self.out_size, x.dtype)

    def read(
        self,
        solution: Float[Array, "n m"],
        state: wj.State,
        coordinate: Float[Array, " q"],
    ) -> Float[Array, " m"]:
        ahead = coordinate[0] - state.t

        # Over [0, 1], so that times are no part of the control flow.
        def slope(s, x, args):
            inside = jnp.clip(x, -self.limit, self.limit)
            return ahead * self.features(inside) @ solution

        solver, start, stop = diffrax.Tsit5(), jnp.zeros(()), jnp.ones(())
        term = diffrax.ODETerm(slope)
        memory = solver.init(term, start, stop, state.x, None)
        x, *_ = solver.step(term, start, stop, state.x, None, memory, False)
        return jnp.clip(x, -self.limit, self.limit)

    def parameters(self, solution: Float[Array, "n m"]) -> dict[str, Array]:
        """Returns the coefficients of each equation, `field`, `(size, features)`."""
        return {"field": solution.T}
