"""state, coordinate -> a first guess and its correction, summed."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float

from .._span import Span
from .._types import on_point, Output, point, State
from .base import AbstractDecoder


class SkipDecoder(AbstractDecoder):
    """What a skip says plus what a decoder says: a correction of something simpler, such
    as a fitted linear map or a law (He et al. 2016, arXiv 1512.03385).

    With `ActivatedDecoder(decoder, Gain(size))` as the decoder the sum starts as the skip
    alone. Of a Gaussian the mean is corrected.
    """

    decoder: AbstractDecoder
    skip: Callable | AbstractDecoder
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: AbstractDecoder, skip: Callable | AbstractDecoder):
        """**Arguments:**

        - `decoder`: the correction.
        - `skip`: a function of the latest observation, `(input,) -> (out,)`, as an
            `equinox.nn.Linear` or `lambda x: x`, which is trained if it has weights. Or
            another decoder with as many outputs: then the state is that of `decoder`
            followed by that of `skip`.

        **Raises:** `ValueError` where the two decoders differ in their outputs, `TypeError`
        for a skip that is no function.
        """
        call = "SkipDecoder(decoder, skip)"
        if not callable(skip):
            raise TypeError(
                f"`{call}` needs a function or a decoder for `skip`; got {skip!r:.80}."
            )
        self.decoder, self.skip = decoder, skip
        self.state_size, self.out_size = decoder.state_size, decoder.out_size
        if isinstance(skip, AbstractDecoder):
            self.state_size += skip.state_size
            if skip.out_size != self.out_size:
                raise ValueError(
                    f"`{call}` needs as many outputs of both; got {self.out_size} of the "
                    f"decoder and {skip.out_size} of the skip."
                )

    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Output:
        if isinstance(self.skip, AbstractDecoder):
            size = self.decoder.state_size
            first = State(state.theta[:size], state.x, state.t)
            second = State(state.theta[size:], state.x, state.t)
            return _sum(self.decoder, first, self.skip, second, coordinate)
        return _add(self.decoder(state, coordinate), self.skip(state.x))

    def spanned(self, span: Span) -> AbstractDecoder:
        if not isinstance(self.skip, AbstractDecoder):
            return SkipDecoder(self.decoder.spanned(span), self.skip)
        size = self.decoder.state_size
        parts = [
            dataclasses.replace(span, basis=span.basis[rows], origin=span.origin[rows])
            for rows in (slice(None, size), slice(size, None))
        ]
        return SpannedSkipDecoder(
            self.decoder.spanned(parts[0]), self.skip.spanned(parts[1])
        )

    @property
    def footprint(self) -> int:
        skip = self.skip
        more = skip.footprint if isinstance(skip, AbstractDecoder) else self.out_size
        return self.decoder.footprint + more


class SpannedSkipDecoder(AbstractDecoder):
    """Two decoders of the same coefficients, summed."""

    decoder: AbstractDecoder
    skip: AbstractDecoder
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: AbstractDecoder, skip: AbstractDecoder):
        """**Arguments:** what is corrected by `decoder` is what `skip` says."""
        self.decoder, self.skip = decoder, skip
        self.state_size, self.out_size = decoder.state_size, decoder.out_size

    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Output:
        return _sum(self.decoder, state, self.skip, state, coordinate)

    @property
    def footprint(self) -> int:
        return self.decoder.footprint + self.skip.footprint


def _sum(
    decoder: AbstractDecoder,
    state: State,
    skip: AbstractDecoder,
    other: State,
    coordinate: Float[Array, " q"],
) -> Output:
    return _add(decoder(state, coordinate), point(skip(other, coordinate)))


def _add(output: Output, guess: Float[Array, " y"]) -> Output:
    if guess.shape != point(output).shape:
        raise ValueError(
            f"`SkipDecoder(decoder, skip)` needs as many outputs of both; got "
            f"{point(output).shape} of the decoder and {guess.shape} of the skip."
        )
    return on_point(lambda y: y + guess, output)
