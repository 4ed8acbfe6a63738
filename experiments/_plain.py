"""xs -> ys as anyone would write it by hand: what every roll is measured against."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.lax as lax
import jax.nn as jnn
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

import warp_jax as wj


class Plain(eqx.Module):
    """A dense A, one `lax.scan`, the network unflattened and run at every step, whatever
    is then kept of it.

    Gives the numbers of a `warp_jax.WARP` with a `DenseTransition`. The losses, the
    coordinates and what makes `theta_0` are the library's, so that only the recurrence
    and the decoder differ.
    """

    A: Float[Array, "p p"]
    B: Float[Array, "p d"]
    initial: wj.AbstractInitial
    coordinates: wj.AbstractCoordinates
    rest: PyTree
    unravel: Callable = eqx.field(static=True)
    observe: bool = eqx.field(static=True)
    min_std: float | None = eqx.field(static=True)

    def __init__(
        self,
        network: PyTree,
        A: Float[Array, "p p"],
        B: Float[Array, "p d"],
        initial: wj.AbstractInitial,
        coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
        *,
        observe: bool = False,
        min_std: float | None = None,
    ):
        """**Arguments:**

        - `network`: the auxiliary network, for its shapes.
        - `A`, `B`, `initial`, `coordinates`: as the parts of a WARP.
        - `observe`: whether the network also gets the latest observation.
        - `min_std`: given, outputs are Gaussian, with at least this deviation.
        """
        weights, self.rest = eqx.partition(network, eqx.is_inexact_array)
        self.unravel = ravel_pytree(weights)[1]
        self.A, self.B = A, B
        self.initial = initial
        self.coordinates = coordinates
        self.observe = observe
        self.min_std = min_std

    @property
    def state_size(self) -> int:
        """How many weights the network has."""
        return len(self.A)

    def __call__(self, xs: Float[Array, "t d"]) -> wj.Gaussian | Float[Array, "t y"]:
        """Reads the output after every step, at the step's own time."""
        ts = jnp.linspace(0, 1, len(xs), dtype=xs.dtype)
        dxs = jnp.diff(xs, axis=0, append=xs[-1:])

        def step(theta, inputs):
            x, dx, t = inputs
            return self.A @ theta + self.B @ dx, self._decode(theta, x, t)

        return lax.scan(step, self.initial(xs[0]), (xs, dxs, ts))[1]

    def last(self, xs: Float[Array, "t d"]) -> wj.Gaussian | Float[Array, " y"]:
        """Reads the last output, `(out,)`: the last one of all."""
        return jax.tree.map(lambda outputs: outputs[-1], self(xs))

    def unroll(
        self, xs: Float[Array, "t d"], forced: Bool[Array, " s"]
    ) -> wj.Gaussian | Float[Array, "s y"]:
        """Predicts `xs[1:]`, `(time - 1, out)`, feeding back its own prediction, or its
        mean, where a step is not forced.
        """
        ts = jnp.linspace(0, 1, len(xs), dtype=xs.dtype)

        def step(carry, inputs):
            theta, x = carry
            truth, t, forced = inputs
            output = self._decode(theta, x, t)
            own = output.mean if isinstance(output, wj.Gaussian) else output
            following = jnp.where(forced, truth, own)
            theta = self.A @ theta + self.B @ (following - x)
            return (theta, following), output

        start = self.initial(xs[0]), xs[0]
        return lax.scan(step, start, (xs[1:], ts[1:], forced))[1]

    def _decode(self, theta, x, t):
        network = eqx.combine(self.unravel(theta), self.rest)
        inputs = self.coordinates(t)
        if self.observe:
            inputs = jnp.concatenate([inputs, x])
        output = network(inputs)
        if self.min_std is None:
            return output
        mean, raw = jnp.split(output, 2)
        return wj.Gaussian(mean, jnp.maximum(jnn.softplus(raw), self.min_std))
