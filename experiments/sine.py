"""sine: one period of a sine from its first value, by the number of training waves."""

import math

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr

import warp_jax as wj

from . import _figures as figures
from ._config import Config
from ._data import make_sine
from ._data.sine import SIZES
from ._models import sized
from ._run import count, Run, Trial
from ._tasks import Reconstruction
from .baselines import GRU, LRU, LSTM, Model, neural_ode, recurrent, Transformer


LENGTH = 16
# `paper_mse` by number of training waves, as published (arXiv 2506.01153).
PUBLISHED = {
    "WARP, published": (0.0306, 2.77e-4, 9.51e-4, 4.74e-4, 6.15e-4),
    "neural ODE, published": (0.816, 0.0352, 0.0320, 0.0320, 0.0320),
}
STEPS = {"quick": 1000, "paper": 20_000}
RATE = 3e-3


def quick(key: jax.Array) -> dict[str, Model]:
    """Models of about 6 000 parameters each."""
    keys = jr.split(key, 12)
    network = eqx.nn.MLP(1, 1, 16, 2, jnn.silu, key=keys[0])
    decoder = wj.NetworkDecoder(network)
    size = decoder.state_size
    warp = wj.WARP(
        decoder=decoder,
        transition=wj.LowRankTransition(
            size, 1, 4, length=LENGTH, cycles=1, key=keys[1]
        ),
        initial=wj.Hypernetwork(
            1, size, 1, width=8, theta=decoder.flatten(network), key=keys[2]
        ),
    )

    def lstm(size):
        return recurrent(LSTM(1, size, key=keys[7]), 1, 32, key=keys[8])

    def transformer(size):
        cell = Transformer(1, 2 * size, heads=2, window=LENGTH, key=keys[9])
        return recurrent(cell, 1, 32, key=keys[10])

    def ode(size):
        return neural_ode(1, size, 1, 32, rate=2 * math.pi, key=keys[11])

    parameters = count(warp)
    return {
        "WARP": warp,
        "GRU": recurrent(GRU(1, 36, key=keys[3]), 1, 32, key=keys[5]),
        "LRU": recurrent(LRU(1, 24, key=keys[4]), 1, 100, key=keys[6]),
        "LSTM": sized(lstm, parameters),
        "Transformer": sized(transformer, parameters),
        "neural ODE": sized(ode, parameters),
    }


def paper(key: jax.Array) -> dict[str, Model]:
    """The paper's model: 48 x 3, a dense A, the paper's hypernetwork; and the baselines."""
    keys = jr.split(key, 3)
    network = eqx.nn.MLP(1, 1, 48, 3, jnn.silu, key=keys[0])
    decoder = wj.NetworkDecoder(network)
    warp = wj.WARP(
        decoder=decoder,
        transition=wj.DenseTransition(decoder.state_size, 1),
        initial=wj.Hypernetwork(1, decoder.state_size, key=keys[1]),
    )
    return {**quick(keys[2]), "WARP": warp}


def run(config: Config) -> dict:
    """Predict a sine of random phase from its first value; train on 1 to 10 000 of them."""
    data = make_sine()
    run = Run("sine", data.name, config)
    task = Reconstruction(context=1)
    make = {"quick": quick, "paper": paper}[run.config.preset]
    curves: dict[str, dict[int, float]] = {}
    examples = {}
    for title, size in SIZES.items():
        for name, model in make(run.key("models")).items():
            full = f"{title} ({size:,}): {name}"
            if not run.wants(full):
                continue
            batches = wj.Batches(
                data.train.head(size), min(size, 100), key=run.key("batches", title)
            )
            trial = Trial(
                name=full,
                model=model,
                loss=task.loss,
                batches=batches,
                steps=run.config.steps or STEPS[run.config.preset],
                state_size=model.decoder.state_size,
                validate=task.validate(data.validation),
                test=task.test(data.test),
                learning_rate=RATE,
                weight_decay=0.0,
                notes={"train_size": size},
            )
            trained = run.train(trial)
            curves.setdefault(name, {})[size] = run.results[-1]["metrics"]["paper_mse"]
            examples[full] = jax.vmap(task.predict, (None, 0))(
                trained, jnp.asarray(data.test.xs[:1])
            )[0, :, 0]
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation MSE")
    )
    run.figure("error_by_size", _by_size(curves))
    run.figure("examples", figures.overlay(data.test.xs[0, 1:, 0], examples))
    return run.finish()


def _by_size(curves: dict[str, dict[int, float]]):
    """Draws the test error by training size, beside the published ones."""
    published = {k: dict(zip(SIZES.values(), v)) for k, v in PUBLISHED.items()}
    figure, ((ax,),) = figures.axes(1, 1, width=5, height=3.6)
    for name, curve in (curves | published).items():
        style = "--" if name in published else "-"
        ax.plot(
            list(curve), list(curve.values()), f"o{style}", label=name, markersize=3
        )
    ax.set(
        xscale="log", yscale="log", xlabel="training waves", ylabel="paper_mse (test)"
    )
    ax.legend(frameon=False, fontsize=7)
    return figure
