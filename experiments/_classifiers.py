"""data set -> the models that tell its sequences apart, and what is chosen for them."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.nn as jnn
import jax.random as jr

import warp_jax as wj

from ._augment import AbstractAugmentation, Chain, Jitter, Scale, Shift, TimeWarp
from ._rivals import rival, thinned
from .baselines import Thinned


# Of the logits of a bounded model, at each time that is read.
LOGITS = wj.NormBound(5.0)
# What may drive a model whose drive validation data chooses.
DRIVES: dict[str, wj.AbstractPairwiseDrive] = {
    "increments": wj.Increments(),
    "values": wj.Values(),
}
# Of series with unit deviation in each channel. Not tuned.
AUGMENTATION = Chain(TimeWarp(0.3), Scale(0.1), Jitter(0.05))


class Candidates(NamedTuple):
    """What is asked of a model, and what it may be: by what is said of each."""

    task: Any
    models: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a run has for a data set beforehand, but for the learning rate; chosen on its
    validation data, as docs/results.md says.

    - `weights`: of the network, about.
    - `modes`: complex modes of the subspace, and the rank of the low rank.
    - `rank_cycles`, `mode_cycles`: full turns of the fastest mode over a sequence, at the
        start, of the low rank and of the subspace.
    - `dropout`: the share of modes that a sequence in training leaves out.
    - `batch`: sequences of a step, but at most all.
    - `rates`: learning rates that are tried.
    - `steps`: updates, by preset.
    - `quick`: what the quick preset has, where `--models` does not say.
    - `strong_modes`, `strong_drives`, `strong_cycles`, `strong_dropouts`: of the stronger
        models; every drive is tried with each of the cycles and dropouts.
    - `augmentation`: of what the stronger models train on.
    """

    weights: int = 400
    modes: int = 32
    rank_cycles: float = 1.5
    mode_cycles: float = 1.5
    dropout: float = 0.4
    batch: int = 32
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    steps: dict[str, int] = dataclasses.field(
        default_factory=lambda: {"quick": 1000, "paper": 10_000}
    )
    quick: tuple[str, ...] = (
        "dense",
        "low rank",
        "subspace",
        "subspace, dropout",
        "LRU",
        "random convolutions",
    )
    strong_modes: int = 128
    strong_drives: dict[str, wj.AbstractPairwiseDrive] = dataclasses.field(
        default_factory=lambda: DRIVES
    )
    strong_cycles: tuple[float, ...] = (3.0, 8.0)
    strong_dropouts: tuple[float, ...] = (0.4,)
    augmentation: AbstractAugmentation = AUGMENTATION

    def width(self, classes: int) -> int:
        """Returns the width of a network with one hidden layer and about `weights`."""
        return max(1, round((self.weights - classes) / (2 + classes)))


# Cycles with seeds 0 and 1 and rates 1e-3 and 3e-3. For the low rank of 1, 1.5, 3, 10 and
# 30, with the last state alone read; BasicMotions and digits not below 3. For the subspace
# of 1.5, 3 and 10, on BasicMotions and RacketSports 30 too. Both have one choice on
# JapaneseVowels. The dropout was not tuned. What was tried on pixels of MNIST is in
# docs/results.md; Fashion-MNIST takes it over.
PIXELS = Defaults(
    modes=64,
    rank_cycles=100.0,
    mode_cycles=100.0,
    batch=64,
    rates=(1e-2,),
    steps={"quick": 250, "paper": 20_000},
    quick=("subspace", "LRU"),
    strong_drives={"increments": wj.Increments()},
    strong_cycles=(50.0,),
    strong_dropouts=(0.0, 0.1),
    augmentation=Shift((28, 28), 2),
)
# AtrialFibrillation and StandWalkJump have 15 and 12 sequences to learn from, of 640 and
# 2 500 steps: an update is of all of them, and takes some rivals seconds.
DEFAULTS = {
    "AtrialFibrillation": Defaults(steps={"quick": 200, "paper": 10_000}),
    "BasicMotions": Defaults(rank_cycles=10.0, mode_cycles=10.0),
    "digits": Defaults(rank_cycles=10.0, mode_cycles=10.0),
    "JapaneseVowels": Defaults(rank_cycles=1.0, mode_cycles=1.0),
    "NATOPS": Defaults(mode_cycles=3.0),
    "RacketSports": Defaults(mode_cycles=3.0),
    "StandWalkJump": Defaults(steps={"quick": 100, "paper": 10_000}),
    "mnist": PIXELS,
    "fashion-mnist": PIXELS,
}


def bounded(decoder: wj.AbstractDecoder) -> wj.AbstractDecoder:
    """Returns the decoder with its logits bounded."""
    return wj.ActivatedDecoder(decoder, LOGITS)


def warps(
    defaults: Defaults,
    channels: int,
    classes: int,
    *,
    length: int,
    preset: str,
    key: jax.Array,
) -> dict[str, dict[str, wj.WARP]]:
    """The same network, read along the sequence, under three structures of A, of which the
    subspace is also there with mode dropout. Each starts with the same weights for the
    network and for theta_0.

    Each is driven by increments, which do not tell where a sequence starts; or by values,
    if its name says so; or, where the logits are bounded, by either, of which validation
    data chooses.

    **Returns:** by name what a model may be, as `Candidates.models`.
    """
    network_key, initial_key, rank_key, mode_key, map_key = jr.split(key, 5)
    width = defaults.width(classes)
    network = eqx.nn.MLP(1, classes, width, 1, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    size, theta = decoder.state_size, decoder.flatten(network)
    modes = wj.SpectralTransition(
        2 * defaults.modes,
        channels,
        length=length,
        cycles=defaults.mode_cycles,
        key=mode_key,
    )
    subspace = wj.SubspaceTransition(size, modes, key=map_key)
    low_rank = wj.LowRankTransition(
        size,
        channels,
        defaults.modes,
        length=length,
        cycles=defaults.rank_cycles,
        key=rank_key,
    )
    structures: dict[str, wj.AbstractTransition] = {
        "dense": wj.DenseTransition(size, channels),
        "low rank": low_rank,
        "subspace": subspace,
        "subspace, dropout": wj.ModeDropout(subspace, defaults.dropout),
    }
    initial = wj.LearntInitial(theta)
    if preset == "paper":
        initial = wj.Hypernetwork(channels, size, theta=theta, key=initial_key)

    def made(decoder, transition, drive):
        return wj.WARP(
            decoder=decoder, transition=transition, initial=initial, drive=drive
        )

    plain = {
        name + driven: {"": made(decoder, transition, drive)}
        for name, transition in structures.items()
        for driven, drive in (("", wj.Increments()), (", values", wj.Values()))
    }
    within = {
        f"{name}, bounded": {
            driven: made(bounded(decoder), transition, drive)
            for driven, drive in DRIVES.items()
        }
        for name, transition in structures.items()
    }
    return plain | within


def bounded_lrus(
    channels: int,
    classes: int,
    *,
    length: int,
    parameters: int,
    dropout: float,
    key: jax.Array,
) -> dict[str, Thinned]:
    """Returns what a bounded LRU may be, with what a bounded WARP has: the same bound on
    its logits, the same drives, of which validation data chooses, and modes left out.

    - `dropout`: the share of modes that a sequence in training leaves out.
    """
    model = rival(
        "LRU",
        channels,
        classes,
        length=length,
        parameters=parameters,
        wrap=bounded,
        key=key,
    )
    return {name: thinned(model, drive, dropout) for name, drive in DRIVES.items()}
