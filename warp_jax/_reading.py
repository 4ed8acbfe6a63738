"""rolled states -> weights, and what is read of them: what a roll is handed."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ._coordinates import AbstractCoordinates
from ._decoder import AbstractDecoder
from ._resets import Segments
from ._roll import read_in_turns
from ._transition import Reduction
from ._types import Output, State, Weights


class Thetas(eqx.Module):
    """The weights of rolled states: a pytree, so that a roll can hand all that it holds on
    to other devices.

    - `weights`: of coefficients in a sequence of many, where there are many.
    """

    reduction: Reduction | None
    weights: Callable[[Reduction, Segments, Array], Weights] | None

    def __call__(
        self, state: Float[Array, " m"], segment: Segments | None = None
    ) -> Weights:
        if self.reduction is None:
            return state
        if self.weights is None or segment is None:
            return self.reduction.span.theta(state)
        return self.weights(self.reduction, segment, state)

    def all(
        self, states: Float[Array, "t m"], segments: Segments | None
    ) -> Float[Array, "t p"]:
        return jax.vmap(self)(states, segments)


class Reader(eqx.Module):
    """The outputs of some steps: a pytree as `Thetas` is.

    - `thetas`: `None` where the decoder takes states as they are rolled.
    - `footprint`: numbers that reading one state holds.
    - `whole`: whether what is read are weights.
    """

    decoder: AbstractDecoder
    coordinates: AbstractCoordinates
    thetas: Thetas | None
    footprint: int = eqx.field(static=True)
    whole: bool = eqx.field(static=True)

    def __call__(self, states: Float[Array, "t m"], context: PyTree[Array]) -> Output:
        def read(step) -> Output:
            state, x, t, query, segment = step
            if self.thetas is not None:
                state = self.thetas(state, segment)
            return self.decoder(State(state, x, t), self.coordinates(query))

        if self.whole:
            # The states are held already; what their networks compute need not be.
            read = jax.checkpoint(read)
        return read_in_turns(read, (states, *context), self.footprint)
