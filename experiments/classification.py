"""classification: which structure of A tells time series apart, at equal D_θ."""

import dataclasses
from typing import Annotated

import equinox as eqx
import jax
import jax.nn as jnn
import jax.random as jr

import warp_jax as wj

from . import _figures as figures
from ._config import Flag, Rated, resolve
from ._data import data_folder, Dataset, load_digits, load_uea
from ._rivals import CELLS, rival, state_size
from ._run import count, Run, Trial
from ._tasks import PooledClassification
from .baselines import random_convolutions


STATE = 400
RANK, MODES = 32, 32
# The share of modes that a sequence in training leaves out. Not tuned.
DROPOUT = 0.4
# Full turns of the fastest mode over a sequence, at the start, chosen by validation data
# with seeds 0 and 1 and rates 1e-3 and 3e-3. For the low rank of 1, 1.5, 3, 10 and 30, with
# the last state alone read; BasicMotions and digits not below 3. For the subspace of 1.5, 3
# and 10, on BasicMotions and RacketSports 30 too. JapaneseVowels has one choice for both.
RANK_CYCLES = {"BasicMotions": 10.0, "digits": 10.0, "JapaneseVowels": 1.0}
MODE_CYCLES = {**RANK_CYCLES, "NATOPS": 3.0, "RacketSports": 3.0}
SMOOTH = 1.5
BATCH = 32
STEPS = {"quick": 1000, "paper": 10_000}
QUICK = ("LRU",)
CONVOLUTIONS = "random convolutions"


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `classification` can be asked for."""

    dataset: str = "digits"
    """digits, which comes with scikit-learn, or a name of the UEA archive: BasicMotions,
    JapaneseVowels, Libras, NATOPS, RacketSports, ..."""
    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (
        1e-3,
        3e-3,
        1e-2,
    )
    """Each is tried with each model; validation data chooses."""


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, wj.WARP]:
    """The same network, read along the sequence, under three structures of A, of which the
    subspace is also there with mode dropout. Each starts with the same weights for the
    network and for theta_0.
    """
    network_key, initial_key, rank_key, mode_key, map_key = jr.split(key, 5)
    _, length, channels = data.train.xs.shape
    # Of one hidden layer, as wide as makes about as many weights for any data set.
    width = max(1, round((STATE - data.classes) / (2 + data.classes)))
    network = eqx.nn.MLP(1, data.classes, width, 1, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    size, theta = decoder.state_size, decoder.flatten(network)
    modes = wj.SpectralTransition(
        2 * MODES,
        channels,
        length=length,
        cycles=MODE_CYCLES.get(data.name, SMOOTH),
        key=mode_key,
    )
    subspace = wj.SubspaceTransition(size, modes, key=map_key)
    transitions = {
        "dense": wj.DenseTransition(size, channels),
        "low rank": wj.LowRankTransition(
            size,
            channels,
            RANK,
            length=length,
            cycles=RANK_CYCLES.get(data.name, SMOOTH),
            key=rank_key,
        ),
        "subspace": subspace,
        "subspace, dropout": wj.ModeDropout(subspace, DROPOUT),
    }
    initial = wj.LearntInitial(theta)
    if preset == "paper":
        initial = wj.Hypernetwork(channels, size, theta=theta, key=initial_key)
    return {
        name: wj.WARP(decoder=decoder, transition=transition, initial=initial)
        for name, transition in transitions.items()
    }


def run(config: Options) -> dict:
    """Classify the series of one data set, with a dense, a low-rank and a subspace A, and
    with rivals of as many parameters as the low-rank one: LRU by default, all of them with
    the paper preset or --models. Random convolutions and ridge regression are a reference.
    """
    config, _ = resolve("classification", config)
    data = (
        load_digits()
        if config.dataset == "digits"
        else load_uea(config.dataset, data_folder(config.data))
    )
    run = Run("classification", data.name, config)
    task = PooledClassification(by_accuracy=True)
    batch = min(BATCH, len(data.train.xs))
    warps = models(data, config.preset, run.key("models"))
    _, length, channels = data.train.xs.shape
    budget = count(warps["low rank"])
    every = config.models or config.preset == "paper"
    for name in (*warps, *(CELLS if every else QUICK)):
        if not run.wants(name):
            continue
        model = warps.get(name) or rival(
            name,
            channels,
            data.classes,
            length=length,
            parameters=budget,
            key=run.key("models", name),
        )
        trial = Trial(
            name=name,
            model=model,
            loss=task.loss,
            batches=wj.Batches(data.train, batch, key=run.key("batches")),
            steps=config.steps or STEPS[config.preset],
            state_size=state_size(model),
            validate=task.validate(data.validation),
            test=task.test(data.test),
        )
        run.choose(name, trial.at(config.learning_rates))
    if run.wants(CONVOLUTIONS):
        metrics, parameters = random_convolutions.classify(data, config.seed)
        run.reference(CONVOLUTIONS, metrics, parameters=parameters)
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation error")
    )
    return run.finish()
