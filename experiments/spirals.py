"""spirals: which way does a noisy planar spiral turn?"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._config import Config, resolve
from ._data import make_spirals
from ._rivals import CELLS, rival, state_size
from ._run import Run
from ._tasks import Classification
from ._trial import Trial
from .baselines import Model


LENGTH = 100
STEPS = {"quick": 500, "paper": 2000}
BATCH = {"quick": 64, "paper": 256}
RATE = 3e-3
PARAMETERS = 4000
# One of each kind: gated, diagonal and linear, oscillators.
QUICK = ("WARP", "GRU", "LRU", "LinOSS-IM")


def quick(key: jax.Array) -> wj.WARP:
    """A model of about 4 000 parameters."""
    network_key, transition_key, initial_key = jr.split(key, 3)
    network = eqx.nn.MLP(1, 2, 24, 1, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    size = decoder.state_size
    return wj.WARP(
        decoder=decoder,
        transition=wj.LowRankTransition(
            size, 2, 16, length=LENGTH, cycles=3, key=transition_key
        ),
        initial=wj.Hypernetwork(
            2, size, 1, width=4, theta=decoder.flatten(network), key=initial_key
        ),
    )


def paper(key: jax.Array) -> wj.WARP:
    """The paper's model: 24 x 1, a dense A, the paper's hypernetwork."""
    network_key, initial_key = jr.split(key)
    decoder = wj.NetworkDecoder(eqx.nn.MLP(1, 2, 24, 1, jnn.silu, key=network_key))
    return wj.WARP(
        decoder=decoder,
        transition=wj.DenseTransition(decoder.state_size, 2),
        initial=wj.Hypernetwork(2, decoder.state_size, key=initial_key),
    )


def models(preset: str) -> dict[str, Callable[[jax.Array], Model]]:
    """Returns what makes each model, of about 4 000 parameters but for the paper's."""
    make = functools.partial(rival, length=LENGTH, parameters=PARAMETERS)
    rivals = {name: lambda key, name=name: make(name, 2, 2, key=key) for name in CELLS}
    return {"WARP": {"quick": quick, "paper": paper}[preset], **rivals}


def run(config: Config) -> dict:
    """Tell clockwise from anticlockwise spirals, of 100 noisy points each.

    WARP, GRU, LRU and LinOSS-IM by default; the paper preset, or --models, has all rivals.
    """
    config, _ = resolve("spirals", config)
    data, preset, makers = make_spirals(), config.preset, models(config.preset)
    run = Run("spirals", data.name, config, makers)
    task = Classification()
    every = config.models or preset == "paper"
    for name in makers if every else QUICK:
        if not run.wants(name):
            continue
        made = makers[name](run.key("models", name))
        trial = Trial(
            name=name,
            model=made,
            loss=task.loss,
            batches=wj.Batches(data.train, BATCH[preset], key=run.key("batches")),
            steps=config.steps or STEPS[preset],
            state_size=state_size(made),
            validate=task.validate(data.validation),
            test=task.test(data.test),
            learning_rate=RATE,
        )
        trained = run.train(trial)
        if isinstance(trained, wj.WARP):
            shown = data.test.head(40)
            thetas = np.asarray(jax.vmap(trained.weights)(jnp.asarray(shown.xs)))
            title = "The weights of 40 spirals; colour: direction"
            trajectories = figures.weight_trajectories(thetas, shown.labels, title)
            run.figure("weight_trajectories", trajectories)
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation NLL")
    )
    return run.finish()
