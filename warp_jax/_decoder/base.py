"""state, coordinate -> y: the interface."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from .._span import Span
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

    def spanned(self, span: Span) -> "AbstractDecoder":
        """Returns a decoder of the coefficients in `span` that gives the same outputs.

        By default it forms the weights of one reading at a time, and again in the
        backward pass. A decoder that can read without them, or that only passes the state
        on to another one, returns something better.
        """
        return SpannedDecoder(self, span)

    @property
    def footprint(self) -> int:
        """Numbers that one reading holds, roughly: decides how many happen at once."""
        return self.state_size


class SpannedDecoder(AbstractDecoder):
    """Reads coefficients by forming the weights that they stand for."""

    decoder: AbstractDecoder
    span: Span
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: AbstractDecoder, span: Span):
        """**Arguments:** a decoder of weights, and where these lie."""
        self.decoder = decoder
        self.span = span
        self.state_size = span.size
        self.out_size = decoder.out_size

    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Output:
        def read(span, decoder, state, coordinate):
            theta = span.theta(state.theta)
            return decoder(State(theta, state.x, state.t), coordinate)

        read = eqx.filter_checkpoint(read)
        return read(self.span, self.decoder, state, coordinate)

    @property
    def footprint(self) -> int:
        return self.decoder.footprint
