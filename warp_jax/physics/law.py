"""state -> named physical parameters: what decoders that know a law share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._decoder import AbstractDecoder, NetworkDecoder
from .._span import Span
from .._types import Observation, point, Scalar, State
from .parameters import AbstractParameter


Values = dict[str, Float[Array, "..."]]


class Parameters(eqx.Module):
    """The parameters of a law, by name. One after another the adaptive ones take their raw
    numbers from what `decoder` reads off the state.
    """

    decoder: AbstractDecoder
    kinds: tuple[AbstractParameter, ...]
    names: tuple[str, ...] = eqx.field(static=True)
    at: float | None = eqx.field(static=True)

    def __init__(
        self,
        call: str,
        network: PyTree | None,
        kinds: Mapping[str, AbstractParameter],
        at: float | None,
    ):
        """**Arguments:**

        - `call`: the call that errors quote.
        - `network`: the auxiliary network; or a decoder, to be read as it is; or `None`
            where no parameter needs one.
        - `kinds`: the parameters by name.
        - `at`: the one coordinate at which the network is read, so that parameters do not
            depend on when the law is; `None` reads it at the coordinate asked for.

        **Raises:** `ValueError` where the network has not one output for each raw number;
        `ValueError` or `TypeError`, as `NetworkDecoder`, for what is no such network.
        """
        self.kinds, self.names = tuple(kinds.values()), tuple(kinds)
        self.at = at if at is None else float(at)
        sizes = {name: kind.size for name, kind in kinds.items() if kind.size}
        needed = sum(sizes.values())
        self.decoder = _decoder(network)
        if self.decoder.out_size != needed:
            wanted = ", ".join(f"{size} for {name}" for name, size in sizes.items())
            raise ValueError(
                f"`{call}` needs a network with {needed} outputs ({wanted or 'none'}); "
                f"got {self.decoder.out_size}. Parameters that no network gives are "
                "`Constant` or `Known`."
            )

    def __call__(
        self, state: State, coordinate: Float[Array, " q"] | None = None
    ) -> Values:
        """Returns the parameters by name, each in its own shape and unit."""
        dtype = state.theta.dtype
        if self.at is not None:
            coordinate = jnp.full(1, self.at, dtype)
        elif coordinate is None:
            coordinate = state.t[None]
        raw = point(self.decoder(state, coordinate))
        values, start = {}, 0
        for name, kind in zip(self.names, self.kinds):
            piece = raw[start : start + kind.size]
            start += kind.size
            values[name] = kind(piece.reshape(kind.shape) if kind.size else piece)
        return values

    def spanned(self, span: Span) -> "Parameters":
        """Returns the same, read off coefficients."""
        return eqx.tree_at(lambda p: p.decoder, self, self.decoder.spanned(span))


class AbstractLawDecoder(AbstractDecoder):
    """A decoder whose output is a formula, or the solution of an equation, with parameters
    that can be read off a state by name.
    """

    law: eqx.AbstractVar[Parameters]

    @property
    def state_size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.law.decoder.state_size

    def parameters(
        self, state: State, coordinate: Float[Array, " q"] | None = None
    ) -> Values:
        """Returns the physical parameters by name, in the units of `units`.

        **Arguments:**

        - `state`: of the model, as `final`, `init` or `step` returned it.
        - `coordinate`: where to read the network, if it is not held at one place; by
            default the time of the latest observation.
        """
        return self.law(state, coordinate)

    @property
    def units(self) -> dict[str, str]:
        """The units of the parameters by name, as they were given."""
        return {n: kind.unit for n, kind in zip(self.law.names, self.law.kinds)}

    def spanned(self, span: Span) -> AbstractDecoder:
        return eqx.tree_at(lambda d: d.law, self, self.law.spanned(span))

    @property
    def footprint(self) -> int:
        return self.law.decoder.footprint


class Unread(AbstractDecoder):
    """Stands where a network would be and reads nothing off a state, of one number: a
    recurrence cannot have none.
    """

    state_size: int = eqx.field(static=True, default=1)
    out_size: int = eqx.field(static=True, default=0)

    def __call__(self, state: State, coordinate: Float[Array, " q"]) -> Any:
        return jnp.zeros(0, state.theta.dtype)

    def spanned(self, span: Span) -> AbstractDecoder:
        return dataclasses.replace(self, state_size=span.size)


def elapsed(state: State, coordinate: Float[Array, " q"], time_scale: float) -> Scalar:
    """Returns the time from the latest observation to the one asked for, in the law's
    unit of time.
    """
    return time_scale * (coordinate[0] - state.t)


def check_observation(call: str, x: Observation, channels: str, size: int) -> None:
    """Raises unless an observation has the channels that a law carries forward."""
    if x.shape != (size,):
        raise ValueError(
            f"`{call}` needs observations of shape ({size},), {channels}; got {x.shape}."
        )


def _decoder(network: PyTree | None) -> AbstractDecoder:
    if network is None:
        return Unread()
    return network if isinstance(network, AbstractDecoder) else NetworkDecoder(network)
