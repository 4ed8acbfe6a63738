"""family, tokens -> models of about equal size that regress in context."""

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

from ._data import Contexts
from ._in_context import Asked, Fed
from ._models import low_rank, sized, Transition
from ._rivals import CELLS
from .baselines import Model, Recurrent, recurrent


# Layers between the first and the last of the network that the state is, and of those that
# read another state.
DEPTH, LEAST = 4, 8
EMBEDDING, CHANNELS = 64, 32
RANK = 16
RIVALS = "LRU", "Transformer"


class Residual(eqx.Module):
    """Layers that each add to what they are given: with weights that are linear in
    statistics of the tokens, a polynomial in these of a degree that grows with the depth.
    """

    enter: eqx.nn.Linear
    layers: tuple[eqx.nn.Linear, ...]
    leave: eqx.nn.Linear
    in_size: int = eqx.field(static=True)

    def __init__(self, in_size: int, width: int, *, key: Any):
        enter_key, leave_key, *keys = jr.split(key, 2 + DEPTH)
        self.enter = eqx.nn.Linear(in_size, width, key=enter_key)
        self.layers = tuple(eqx.nn.Linear(width, width, key=k) for k in keys)
        self.leave = eqx.nn.Linear(width, 1, key=leave_key)
        self.in_size = in_size

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " y"]:
        hidden = self.enter(x)
        for layer in self.layers:
            hidden = hidden + jnn.silu(layer(hidden)) / 2
        return self.leave(hidden)


class BesideDecoder(wj.AbstractDecoder):
    """A network of the state and the query together: what WARP's state is itself."""

    network: Residual
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, state_size: int, keys: int, width: int, *, key: Any):
        self.network = Residual(state_size + keys, width, key=key)
        self.state_size, self.out_size = state_size, 1

    def __call__(
        self, state: wj.State, coordinate: Float[Array, " q"]
    ) -> Float[Array, " y"]:
        return self.network(jnp.concatenate([state.theta, coordinate]))


class Standard(eqx.Module):
    """A drive in units in which its sum over a context has mean zero and deviation one."""

    mean: tuple[float, ...] = eqx.field(static=True)
    scale: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, dx: Float[Array, " c"]) -> Float[Array, " c"]:
        return (dx - jnp.asarray(self.mean)) * jnp.asarray(self.scale)


def standard(drive: wj.AbstractDrive, contexts: Contexts) -> wj.EmbeddedDrive:
    """Returns a drive of tokens, in units that are taken from training contexts."""

    def driven(xs):
        start = wj.State(xs[0, :0], xs[0], xs[0, 0], drive.init(xs[0]))
        return drive(start, xs[1:], xs[1:, 0], None)[0]

    dxs = np.asarray(jax.vmap(driven)(jnp.asarray(contexts.xs)), np.float64)
    scale = 1 / dxs.sum(1).std(0)
    return wj.EmbeddedDrive(
        drive, Standard(tuple(dxs.mean((0, 1)).tolist()), tuple(scale.tolist()))
    )


class Embedding(eqx.Module):
    """A perceptron of a token, in a unit in which a sum over a context is of order one."""

    network: eqx.nn.MLP
    scale: float = eqx.field(static=True)

    def __call__(self, token: Float[Array, " d"]) -> Float[Array, " c"]:
        return self.scale * self.network(token)


def summed(size: int, inputs: int, length: int, key: Any) -> wj.AbstractTransition:
    """`theta_t = theta_0 + P (dx_1 + ... + dx_t)`: A = I, whatever the order of tokens."""
    return wj.SubspaceTransition(size, wj.SumTransition(inputs), key=key)


def self_decoding(
    contexts: Contexts,
    drive: wj.AbstractDrive,
    transition: Transition,
    width: int,
    key: Any,
    *,
    observe: bool = False,
) -> wj.WARP:
    """Returns a WARP whose state is a network of a query.

    - `observe`: the network is given the time and the latest token instead.
    """
    length, channels = contexts.xs.shape[1:]
    inputs = 1 + channels if observe else contexts.queries.shape[2]
    network_key, transition_key = jr.split(key)
    network = Residual(inputs, width, key=network_key)
    decoder = wj.NetworkDecoder(network, observe)
    size = decoder.state_size
    return wj.WARP(
        decoder=decoder,
        transition=transition(size, drive.size(channels), length, transition_key),
        initial=wj.LearntInitial(decoder.flatten(network)),
        drive=drive,
    )


def separate(
    contexts: Contexts, drive: wj.AbstractDrive, width: int, key: Any
) -> wj.WARP:
    """Returns the same linear recurrence, whose state another network reads beside the
    query: as wide as the state is long, and as deep as the network that the state was.
    """
    length, channels = contexts.xs.shape[1:]
    inputs = drive.size(channels)
    size = max(width, inputs)
    head_key, transition_key = jr.split(key)
    keys = contexts.queries.shape[2]
    return wj.WARP(
        decoder=BesideDecoder(size, keys, size, key=head_key),
        transition=summed(size, inputs, length, transition_key),
        initial=wj.LearntInitial(jnp.zeros(size)),
        drive=drive,
    )


def asked_rival(contexts: Contexts, name: str, width: int, key: Any) -> Recurrent:
    """Returns a rival whose hidden vector a network as deep reads beside the query."""
    length, channels = contexts.xs.shape[1:]
    cell_key, head_key = jr.split(key)
    cell = CELLS[name](channels, width, length, cell_key)
    keys = contexts.queries.shape[2]
    head = BesideDecoder(cell.hidden_size, keys, width, key=head_key)
    return Recurrent(cell, head, wj.TimeCoordinate())


def ordered(size: int, inputs: int, length: int, key: Any) -> wj.AbstractTransition:
    """Identity plus low rank, to which the order of the tokens matters."""
    return low_rank(size, inputs, length, key, rank=min(RANK, size))


def models(
    contexts: Contexts, parameters: int, key: Any
) -> dict[str, tuple[type[Asked], Callable[[], Model]]]:
    """Returns how each model is asked, and what makes it, of about so many `parameters`.

    - `contexts`: of the training, for the sizes and the units of what drives a WARP.
    """
    length, channels = contexts.xs.shape[1:]
    keys = contexts.queries.shape[2]
    embedding_key, key = jr.split(key)
    tokens = standard(wj.Values(), contexts)
    pairs = wj.physics.Tokens(keys, channels - keys)
    both = wj.JoinedDrive(wj.Values(), wj.Products(pairs=pairs))
    products = standard(both, contexts)
    network = eqx.nn.MLP(channels, CHANNELS, EMBEDDING, 2, jnn.silu, key=embedding_key)
    embedded = wj.EmbeddedDrive(wj.Values(), Embedding(network, length**-0.5))
    warp = functools.partial(self_decoding, contexts)
    # A width -> a model.
    asked = {
        "WARP, tokens": lambda width: warp(tokens, ordered, width, key),
        "WARP, products": lambda width: warp(products, summed, width, key),
        "WARP, embedded": lambda width: warp(embedded, summed, width, key),
        "separate decoder, products": lambda width: separate(
            contexts, products, width, key
        ),
        **{n: functools.partial(asked_rival, contexts, n, key=key) for n in RIVALS},
    }
    fed = {
        "WARP, tokens, fed": lambda width: warp(
            tokens, ordered, width, key, observe=True
        ),
        "Transformer, fed": lambda width: recurrent(
            CELLS["Transformer"](channels, width, length + 1, key), 1, width, key=key
        ),
    }

    def maker(make: Callable[[int], Any]) -> Callable[[], Model]:
        # A narrower state would have less room than there are drives.
        wide = lambda width: make(max(width, LEAST))  # noqa: E731
        return functools.partial(sized, wide, parameters)

    return {
        name: (kind, maker(make))
        for kind, group in ((Asked, asked), (Fed, fed))
        for name, make in group.items()
    }
