"""state, coordinate -> y: the interface."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from .._types import Output, State


class AbstractDecoder(eqx.Module):
    """Reads an output off a state at a coordinate: `y = f_theta(tau)`.

    To add a prior, subclass this and say what the state's weights mean; nothing before
    the decoder changes.
    """

    state_size: eqx.AbstractVar[int]
    out_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Output:
        """**Arguments:**

        - `state`: the weights `theta`, `(state,)`, the latest observation and its time.
        - `coordinate`: where to read, `(coordinate,)`; its first entry is the time.

        **Returns:** the output, an array, `(out_size,)`, or a distribution over one.
        """
