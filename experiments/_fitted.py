"""features, data -> a part fitted by least squares, and decoders made with it."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import warp_jax as wj

from ._models import Bounded, low_rank, sized, Transition
from .baselines import GRU, Model, recurrent


Features = Callable[[Float[Array, " d"]], Float[Array, " n"]]


def linear(x: Float[Array, " d"]) -> Float[Array, " n"]:
    """Features of a linear law: the observation and a constant."""
    return jnp.append(x, jnp.ones((), x.dtype))


class Fitted(eqx.Module):
    r"""$r\,W M \phi(x)$: what comes next, from features $\phi$ of the latest observation.

    M makes the features orthonormal over the training data, so that every weight in W has
    the same effect on the output, and r is the error of the fit: a step of training then
    moves a weight by about as much as it still may be wrong.
    """

    weights: Float[Array, "y n"]
    features: Features = eqx.field(static=True)
    matrix: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    error: float = eqx.field(static=True)

    def __init__(
        self,
        features: Features,
        xs: Float[np.ndarray, "m t d"],
        outputs: int,
    ):
        """Fits the next step by least squares, in closed form and double precision.

        - `features`: `(input,) -> (n,)`.
        - `xs`: sequences, `(examples, time, input)`.
        - `outputs`: how many channels, the first ones, are predicted.

        **Raises:** `ValueError` where one feature follows from the others.
        """
        before = xs[:, :-1].reshape(-1, xs.shape[-1]).astype(np.float64)
        after = xs[:, 1:, :outputs].reshape(-1, outputs).astype(np.float64)
        with jax.enable_x64(True):
            inputs = np.asarray(jax.vmap(features)(jnp.asarray(before)))
        rank = np.linalg.matrix_rank(inputs)
        if rank < inputs.shape[1]:
            raise ValueError(
                "`Fitted(features, xs, outputs)` needs independent features; got "
                f"{inputs.shape[1]} of rank {rank}. Leave some out, or give more data."
            )
        triangle = np.linalg.qr(inputs, mode="r") / np.sqrt(len(inputs))
        matrix = np.linalg.inv(triangle.T)
        weights = after.T @ (inputs @ matrix.T) / len(inputs)
        residual = inputs @ matrix.T @ weights.T - after
        # Of an exact fit rounding alone would be left, too little to be a unit.
        least = 1e-6 * np.sqrt(np.mean(after**2))
        self.error = float(max(np.sqrt(np.mean(residual**2)), least))
        self.weights = jnp.asarray(weights / self.error, float)
        self.features = features
        self.matrix = tuple(map(tuple, matrix.tolist()))

    def __call__(
        self, x: Float[Array, " d"], moved: Float[Array, "y n"] | None = None
    ) -> Float[Array, " y"]:
        """Returns the next step, with the weights `moved` by so much."""
        weights = self.weights if moved is None else self.weights + moved
        scaled = self.error * jnp.asarray(self.matrix, x.dtype)
        return weights @ (scaled @ self.features(x))


class LawDecoder(wj.AbstractDecoder):
    """A law that is linear in its parameters: a fit whose weights a network moves."""

    decoder: wj.AbstractDecoder
    law: Fitted
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: wj.AbstractDecoder, law: Fitted):
        """**Arguments:** `decoder`: has one output for each weight of `law`, the fit."""
        self.decoder = decoder
        self.law = law
        self.state_size = decoder.state_size
        self.out_size = len(law.weights)

    def __call__(
        self, state: wj.State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        moved = self.decoder(state, coordinate)
        return self.law(state.x, moved.reshape(self.law.weights.shape))

    def spanned(self, span) -> wj.AbstractDecoder:
        return LawDecoder(self.decoder.spanned(span), self.law)

    @property
    def footprint(self) -> int:
        return self.decoder.footprint


def corrected(decoder: wj.AbstractDecoder, fit: Fitted, limit: float) -> wj.SkipDecoder:
    """Returns a fit that a decoder corrects by at most `limit` times the fit's error."""
    change = wj.ActivatedDecoder(decoder, Bounded(fit.error, limit))
    return wj.SkipDecoder(change, fit)


def corrections(
    fit: Fitted,
    inputs: int,
    *,
    length: int,
    parameters: int,
    transition: Transition = low_rank,
    coordinates: wj.AbstractCoordinates = wj.TimeCoordinate(),
    limit: float = 5.0,
    key: Any,
) -> dict[str, Model]:
    """Returns a WARP and a GRU that see the latest observation and correct a fit.

    - `parameters`: about how many the GRU has.
    - `limit`: the largest correction, in errors of the fit.
    """
    network_key, transition_key, cell_key = jr.split(key, 3)
    outputs = len(fit.weights)
    network = eqx.nn.MLP(
        inputs + coordinates.out_size, outputs, 18, 2, jnn.silu, key=network_key
    )
    decoder = wj.NetworkDecoder(network, observe=True)
    warp = wj.WARP(
        decoder=corrected(decoder, fit, limit),
        transition=transition(decoder.state_size, inputs, length, transition_key),
        initial=wj.LearntInitial(decoder.flatten(network)),
        coordinates=coordinates,
    )

    def gru(size: int) -> Model:
        cell = GRU(inputs, size, key=cell_key)
        wrap = functools.partial(corrected, fit=fit, limit=limit)
        head = {"coordinates": coordinates, "wrap": wrap, "key": cell_key}
        return recurrent(cell, outputs, size, **head)

    return {"WARP": warp, "GRU": sized(gru, parameters)}


class DelayedDecoder(wj.AbstractDecoder):
    """Another decoder's outputs, and after them the latest observation of these channels:
    what comes next where an observation holds the one before it.
    """

    decoder: wj.AbstractDecoder
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder: wj.AbstractDecoder):
        """**Arguments:** `decoder`: of the channels without their past."""
        self.decoder = decoder
        self.state_size = decoder.state_size
        self.out_size = 2 * decoder.out_size

    def __call__(
        self, state: wj.State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        output = self.decoder(state, coordinate)
        return jnp.concatenate([output, state.x[: output.size]])

    def spanned(self, span) -> wj.AbstractDecoder:
        return DelayedDecoder(self.decoder.spanned(span))

    @property
    def footprint(self) -> int:
        return self.decoder.footprint
