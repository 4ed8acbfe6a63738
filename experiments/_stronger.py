"""What helps in classification, all together: for WARP, and for rivals with the same."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.random as jr
from jaxtyping import Array, Float

import warp_jax as wj

from ._augment import Augmented
from ._classifiers import bounded, Candidates, Defaults
from ._rivals import Maker, rival, stacked, thinned
from ._sizes import count
from ._tasks import PooledClassification
from .baselines import AbstractCell, Gated, LRU, S4D, Thinned, unwrapped, Wrap


# Channels of the embedding, and steps that its convolution sees: those of `Gated` too.
EMBEDDED, SEEN = 16, 4
NORM = eqx.nn.LayerNorm(EMBEDDED, use_weight=False, use_bias=False)
# Features between two layers.
FEATURES = 16


def normed_silu(features: Float[Array, "c t"]) -> Float[Array, "c t"]:
    """Returns the SiLU of the features of each step, less their mean and in units of their
    deviation, whatever the size of what they are of: the norm that stands before each cell
    of a rival.
    """
    return jnn.silu(jax.vmap(NORM, 1, 1)(features))


def warp(
    defaults: Defaults,
    channels: int,
    classes: int,
    *,
    length: int,
    drive: wj.AbstractPairwiseDrive,
    cycles: float,
    dropout: float,
    activation: Callable[[Array], Array] = jnn.silu,
    wrap: Wrap = unwrapped,
    key: Any,
) -> wj.WARP:
    """Returns a WARP with many harmonic modes, of which whole ones are left out in
    training, driven by what `drive` makes of a causal convolution.

    - `activation`: of the convolution.
    - `wrap`: what turns the decoder into another one.
    """
    network_key, drive_key, mode_key, map_key = jr.split(key, 4)
    width = defaults.width(classes)
    network = eqx.nn.MLP(1, classes, width, 1, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    modes = wj.SpectralTransition(
        2 * defaults.strong_modes, EMBEDDED, length=length, cycles=cycles, key=mode_key
    )
    subspace = wj.SubspaceTransition(decoder.state_size, modes, key=map_key)
    return wj.WARP(
        decoder=wrap(decoder),
        transition=wj.ModeDropout(subspace, dropout),
        initial=wj.LearntInitial(decoder.flatten(network)),
        drive=wj.CausalConvolution(
            channels,
            EMBEDDED,
            SEEN,
            drive=drive,
            activation=activation,
            key=drive_key,
        ),
    )


def layered(
    defaults: Defaults,
    channels: int,
    classes: int,
    *,
    wrap: Wrap = unwrapped,
    key: Any,
    **choice: Any,
) -> wj.Stacked:
    """Returns two of these WARPs, one above the other: the lower one makes features of
    every step, and the upper one is driven by them. The choices are those of `warp`, but
    that only the upper decoder is turned into another one.
    """
    embed_key, lower_key, mix_key, upper_key = jr.split(key, 4)
    lower = warp(defaults, FEATURES, FEATURES, key=lower_key, **choice)
    return wj.Stacked(
        eqx.nn.Linear(channels, FEATURES, key=embed_key),
        [wj.StackedLayer(lower, FEATURES, key=mix_key)],
        warp(defaults, FEATURES, classes, wrap=wrap, key=upper_key, **choice),
    )


# Size, length of the sequences, full turns of the fastest mode over one, and key -> cell.
Harmonic = Callable[[int, int, float, Any], AbstractCell]


def harmonic_lru(size: int, length: int, cycles: float, key: Any) -> LRU:
    """Returns an LRU that starts as WARP's modes do."""
    modes = -(-size // 2)
    return LRU(
        2 * modes,
        modes,
        radius_min=math.exp(-2 / length),
        radius_max=math.exp(-2 / (3 * length)),
        max_phase=2 * math.pi * cycles / length,
        key=key,
    )


def harmonic_s4d(size: int, length: int, cycles: float, key: Any) -> S4D:
    """Returns an S4D whose fastest mode starts with so many turns; the slowest channel
    takes a hundredth of its step, as in the paper.
    """
    modes = 8
    step = 2 * cycles / ((modes - 1) * length)
    return S4D(size, modes, min_step=step / 100, max_step=step, key=key)


def harmonic(cell: Harmonic, cycles: float) -> Maker:
    """Returns a maker of two blocks of these cells, each between Griffin's and Mamba's
    convolution and gate.

    - `cycles`: full turns of the fastest mode over a sequence.
    """

    def maker(inputs: int, size: int, length: int, key: Any) -> AbstractCell:
        def gated(size: int, key: Any) -> Gated:
            inner, outer = jr.split(key)
            made = cell(size, length, cycles, inner)
            return Gated(size, made, width=SEEN, key=outer)

        return stacked(gated)(inputs, size, length, key)

    return maker


def stronger_rival(
    cell: Harmonic,
    defaults: Defaults,
    channels: int,
    classes: int,
    *,
    length: int,
    drive: wj.AbstractPairwiseDrive,
    cycles: float,
    dropout: float,
    wrap: Wrap = unwrapped,
    key: Any,
) -> Thinned:
    """Returns a rival with the same extras, of as many parameters as `warp`; its
    convolution is within its blocks, of what `drive` makes of the observations.
    """
    choice = {"drive": drive, "cycles": cycles, "dropout": dropout}
    model = rival(
        harmonic(cell, cycles),
        channels,
        classes,
        length=length,
        parameters=count(
            warp(defaults, channels, classes, length=length, key=key, **choice)
        ),
        wrap=wrap,
        key=key,
    )
    return thinned(model, drive, dropout)


PLAIN: dict[str, Callable[..., Any]] = {
    "WARP, stronger": warp,
    "WARP, two layers": layered,
    "LRU, stronger": functools.partial(stronger_rival, harmonic_lru),
    "S4D, stronger": functools.partial(stronger_rival, harmonic_s4d),
}
BOUNDED = {
    f"{name}, norm bound": functools.partial(make, wrap=bounded)
    for name, make in PLAIN.items()
}
# A norm stands before each cell of the rivals already.
NORMED = {
    f"{name}, normed": functools.partial(
        PLAIN[name], activation=normed_silu, wrap=bounded
    )
    for name in ("WARP, stronger", "WARP, two layers")
}
STRONGER = PLAIN | BOUNDED | NORMED


def stronger(
    name: str, defaults: Defaults, channels: int, classes: int, *, length: int, key: Any
) -> Candidates:
    """Returns a model at every choice that validation data has: driven so, with as many
    cycles and as large a dropout as `defaults` lists.

    - `name`: of `STRONGER`.
    """
    task = Augmented(PooledClassification(by_accuracy=True), defaults.augmentation)
    every = itertools.product(
        defaults.strong_drives.items(),
        defaults.strong_cycles,
        defaults.strong_dropouts,
    )
    models = {
        f"{driven}, {cycles:g} cycles, dropout {dropout:g}": STRONGER[name](
            defaults,
            channels,
            classes,
            length=length,
            drive=drive,
            cycles=cycles,
            dropout=dropout,
            key=key,
        )
        for (driven, drive), cycles, dropout in every
    }
    return Candidates(task, models)
