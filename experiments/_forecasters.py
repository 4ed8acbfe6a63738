"""name, steps -> models that say what a linear forecast of a series is short of."""

from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr

import warp_jax as wj

from ._rivals import rival
from ._sizes import count
from .baselines import DLinear, HeadDecoder, Stack, Thinned


WIDTH, MODES, CYCLES = 16, 32, 10.0
DROPOUT = 0.0, 0.4


def warp(steps: tuple[int, int], dropout: float, key: jax.Array) -> wj.WARP:
    """Returns a WARP whose network is read at the times ahead, and that begins at zero."""
    network_key, mode_key, map_key = jr.split(key, 3)
    coordinates = _coordinates(steps)
    network = eqx.nn.MLP(coordinates.out_size, 1, WIDTH, 2, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    modes = wj.SpectralTransition(
        2 * MODES, 1, length=steps[0], cycles=CYCLES, key=mode_key
    )
    subspace = wj.SubspaceTransition(decoder.state_size, modes, key=map_key)
    return wj.WARP(
        decoder=decoder,
        transition=wj.ModeDropout(subspace, dropout),
        initial=wj.LearntInitial(decoder.flatten(_quiet(network))),
        drive=wj.Values(),
        coordinates=coordinates,
    )


def candidates(name: str, steps: tuple[int, int], key: jax.Array) -> dict[str, Any]:
    """Returns what is tried of a model: a WARP, or a rival of blocks, at each rate of mode
    dropout, another one as it is. Each rival has about as many parameters as the WARP.
    """
    return MAKERS.get(name, _rival)(name, steps, key)


def _warps(name: str, steps: tuple[int, int], key: jax.Array) -> dict[str, Any]:
    return {f"{name}, dropout {rate:g}": warp(steps, rate, key) for rate in DROPOUT}


def _linear(name: str, steps: tuple[int, int], key: jax.Array) -> dict[str, Any]:
    return {name: DLinear(*steps, key=key)}


def _rival(name: str, steps: tuple[int, int], key: jax.Array) -> dict[str, Any]:
    model = rival(
        name,
        1,
        1,
        length=steps[0],
        parameters=count(warp(steps, 0.0, key)),
        coordinates=_coordinates(steps),
        key=key,
    )
    assert isinstance(model.decoder, HeadDecoder)
    head = model.decoder.network
    model = eqx.tree_at(lambda m: m.decoder.network, model, _quiet(head))
    if not isinstance(model.cell, Stack):
        return {name: model}
    return {f"{name}, dropout {rate:g}": Thinned(model, rate) for rate in DROPOUT}


# All others are rivals.
MAKERS = {"WARP": _warps, "WARP, alone": _warps, "DLinear": _linear}


def _coordinates(steps: tuple[int, int]) -> wj.AbstractCoordinates:
    # The shortest wave is six steps long.
    return wj.SinusoidalCoordinates(6, 16.0, scale=float(sum(steps)))


def _quiet(network: eqx.nn.MLP) -> eqx.nn.MLP:
    """Returns the network with a last layer of zeros."""
    last = network.layers[-1]
    return eqx.tree_at(
        lambda n: n.layers[-1], network, jax.tree.map(jnp.zeros_like, last)
    )
