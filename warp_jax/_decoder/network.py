"""state, coordinate -> y, by the network whose weights are the state."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer
from .._span import Span
from .._types import State, Weights
from .._weightspace import WeightSpace
from .base import AbstractDecoder
from .spanned import SpannedNetwork


class NetworkDecoder(AbstractDecoder):
    """Self-decoding: the state is the weights of the auxiliary network that reads it
    (arXiv 2506.01153, section 2).

    Only the shapes of the network given are kept, not its weights.
    """

    space: WeightSpace
    observe: bool = eqx.field(static=True)
    in_size: int = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self, network: PyTree, observe: bool = False, *, in_size: int | None = None
    ):
        """**Arguments:**

        - `network`: any Equinox module that maps a vector to a vector.
        - `observe`: whether the network also gets the latest observation, concatenated
            after the coordinate; by default not.
        - `in_size`: the length of the network's input. By default its own `in_size` or
            `in_features`, or its first layer's.

        **Raises:** `ValueError` where `in_size` can neither be found nor was given, or
        where the network has no weights or does not map `(in_size,)` to a vector;
        `TypeError` for complex weights, or an `in_size` that is no whole number.
        """
        self.space = WeightSpace(network)
        self.observe = bool(observe)
        self.in_size = _in_size(network) if in_size is None else in_size
        check_integer("NetworkDecoder(network, in_size)", "in_size", self.in_size, 1)
        dtype = jnp.result_type(float)
        try:
            out = eqx.filter_eval_shape(
                network, jax.ShapeDtypeStruct((self.in_size,), dtype)
            )
        except Exception as error:
            raise ValueError(
                "`NetworkDecoder(network)` needs a network that takes one vector of "
                f"shape ({self.in_size},); calling it gave {type(error).__name__}: "
                f"{error}"
            ) from error
        if not hasattr(out, "shape") or len(out.shape) != 1:
            raise ValueError(
                "`NetworkDecoder(network)` needs a network with a vector for output; "
                f"got {out}."
            )
        self.state_size = self.space.size
        self.out_size = out.shape[0]

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        inputs = self.inputs(state, coordinate)
        return self.unflatten(state.theta)(inputs)

    def spanned(self, span: Span) -> AbstractDecoder:
        return SpannedNetworkDecoder(self, span)

    def inputs(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " i"]:
        """Returns what the network is given: the coordinate, and what it observes."""
        inputs = coordinate
        if self.observe:
            inputs = jnp.concatenate([coordinate, state.x.astype(coordinate.dtype)])
        if inputs.shape != (self.in_size,):
            seen = f" and an observation of {state.x.size}" if self.observe else ""
            raise ValueError(
                f"`NetworkDecoder` has a network that takes {self.in_size} numbers; got "
                f"a coordinate of {coordinate.size}{seen}. Build the network with "
                f"in_size={inputs.size}, or choose other coordinates."
            )
        return inputs

    def flatten(self, network: PyTree) -> Weights:
        """Returns a network's weights as a state, of shape `(state,)`."""
        return self.space.flatten(network)

    def unflatten(self, theta: Weights) -> PyTree:
        """Returns the network whose weights are `theta`, of shape `(state,)`."""
        return self.space.unflatten(theta)


class SpannedNetworkDecoder(AbstractDecoder):
    """Self-decoding of the coefficients in a span."""

    decoder: NetworkDecoder
    span: Span
    network: SpannedNetwork
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: NetworkDecoder, span: Span):
        """**Arguments:** the decoder of weights, and where these lie."""
        self.decoder = decoder
        self.span = span.bare()
        self.network = SpannedNetwork(decoder.space, span)
        self.state_size = span.size
        self.out_size = decoder.out_size

    def __call__(
        self, state: State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        def run(network, weights, inputs):
            return network(weights)(inputs)

        if self.network.formed:
            # They are larger than what they are made from, so the backward pass makes
            # them again.
            run = eqx.filter_checkpoint(run, prevent_cse=False)
        inputs = self.decoder.inputs(state, coordinate)
        return run(self.network, self.span.weigh(state.theta), inputs)

    @property
    def footprint(self) -> int:
        return self.network.footprint


def _in_size(network: PyTree) -> int:
    layers = getattr(network, "layers", ())
    for part in (network, *layers[:1]):
        for name in ("in_size", "in_features"):
            size = getattr(part, name, None)
            if isinstance(size, int):
                return size
    raise ValueError(
        "`NetworkDecoder(network)` cannot tell how long the network's input is. Say it: "
        "`NetworkDecoder(network, in_size=...)`."
    )
