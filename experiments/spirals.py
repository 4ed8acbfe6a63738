"""spirals: which way does a noisy planar spiral turn?"""

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._config import Config
from ._data import make_spirals
from ._run import Run, Trial
from ._tasks import Classification
from .baselines import GRU, LRU, Model, recurrent


LENGTH = 100
STEPS = {"quick": 500, "paper": 2000}
BATCH = {"quick": 64, "paper": 256}
RATE = 3e-3


def quick(key: jax.Array) -> dict[str, Model]:
    """Models of about 4 000 parameters each."""
    keys = jr.split(key, 7)
    network = eqx.nn.MLP(1, 2, 24, 1, jnn.silu, key=keys[0])
    decoder = wj.NetworkDecoder(network)
    size = decoder.state_size
    warp = wj.WARP(
        decoder=decoder,
        transition=wj.LowRankTransition(
            size, 2, 16, length=LENGTH, cycles=3, key=keys[1]
        ),
        initial=wj.Hypernetwork(
            2, size, 1, width=4, theta=decoder.flatten(network), key=keys[2]
        ),
    )

    return {
        "WARP": warp,
        "GRU": recurrent(GRU(2, 28, key=keys[3]), 2, 32, key=keys[4]),
        "LRU": recurrent(LRU(2, 32, key=keys[5]), 2, 56, key=keys[6]),
    }


def paper(key: jax.Array) -> dict[str, Model]:
    """The paper's model: 24 x 1, a dense A, the paper's hypernetwork; and the baselines."""
    keys = jr.split(key, 3)
    decoder = wj.NetworkDecoder(eqx.nn.MLP(1, 2, 24, 1, jnn.silu, key=keys[0]))
    warp = wj.WARP(
        decoder=decoder,
        transition=wj.DenseTransition(decoder.state_size, 2),
        initial=wj.Hypernetwork(2, decoder.state_size, key=keys[1]),
    )
    return {**quick(keys[2]), "WARP": warp}


def run(config: Config) -> dict:
    """Tell clockwise from anticlockwise spirals, of 100 noisy points each."""
    data = make_spirals()
    run = Run("spirals", data.name, config)
    preset = run.config.preset
    task = Classification()
    for name, model in {"quick": quick, "paper": paper}[preset](
        run.key("models")
    ).items():
        if not run.wants(name):
            continue
        trial = Trial(
            name=name,
            model=model,
            loss=task.loss,
            batches=wj.Batches(data.train, BATCH[preset], key=run.key("batches")),
            steps=run.config.steps or STEPS[preset],
            state_size=model.decoder.state_size,
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
