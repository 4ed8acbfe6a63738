"""rolled states -> weights, and what is read of them: what a roll is handed."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ._coordinates import AbstractCoordinates
from ._decoder import AbstractDecoder
from ._resets import Segments
from ._roll import over_all_steps, read_in_turns
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
        arrays, rest = eqx.partition(self, eqx.is_array)
        steps = states, *context

        def read(arrays, step):
            return eqx.combine(arrays, rest)._one(step)

        # A decoder may be made of functions that hold what is differentiated.
        first = jax.tree.map(lambda array: array[0], steps)
        read, held = jax.closure_convert(read, arrays, first)

        def all_steps(shared, steps, sequences):
            arrays, held = shared

            def one(step):
                return read(arrays, step, *held)

            if self.whole:
                # The states are held already; what their networks compute need not be.
                one = jax.checkpoint(one)
            return read_in_turns(one, steps, self.footprint, sequences)

        return over_all_steps(all_steps, (arrays, held), steps)

    def _one(self, step: PyTree[Array]) -> Output:
        state, x, t, query, segment = step
        if self.thetas is not None:
            state = self.thetas(state, segment)
        return self.decoder(State(state, x, t), self.coordinates(query))
