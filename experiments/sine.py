"""sine: one period of a sine from its first value, by the number of training waves."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._config import Flag, Rated, resolve
from ._data import Dataset, make_sine, Split
from ._data.sine import SIZES
from ._models import held, published, rivals
from ._run import Run
from ._sizes import count
from ._systems import change
from ._tasks import Reconstruction
from ._trial import Trial
from .baselines import Model


LENGTH = 16
# `paper_mse` by number of training waves, as published (arXiv 2506.01153).
PUBLISHED = {
    "WARP, published": (0.0306, 2.77e-4, 9.51e-4, 4.74e-4, 6.15e-4),
    "WARP-Phys, published": (0.0751, 6.2e-5, 6.7e-5, 5.5e-5, 4.8e-5),
    "WARP-Phys, wrong law, published": (0.0509, 0.0251, 0.0237, 0.0233, 0.0233),
    "neural ODE, published": (0.816, 0.0352, 0.0320, 0.0320, 0.0320),
}
STEPS = {"quick": 1500, "paper": 20_000}
# The paper's batches are all of the waves.
BATCH = {"quick": 10, "paper": max(SIZES.values())}
TITLES = {size: title for title, size in SIZES.items()}
WAVES = {"quick": (10,), "paper": tuple(SIZES.values())}
# What turns an auxiliary network into a decoder. The waves have a frequency of one, and
# the paper reads the phase at the time asked for: free in time.
sinusoid = wj.physics.SinusoidDecoder
wrong = functools.partial(sinusoid, frequency=1.2)
DECODERS: dict[str, Callable[[Any], wj.AbstractDecoder]] = {
    "WARP": wj.NetworkDecoder,
    "WARP-Phys": sinusoid,
    "WARP-Phys, free in time": functools.partial(sinusoid, at=None),
    "WARP-Phys, wrong law": wrong,
    "WARP-Phys, wrong law, free in time": functools.partial(wrong, at=None),
}
# Those of them that are also there with a state that nothing moves.
HELD = ("WARP-Phys", "WARP-Phys, wrong law")


@dataclasses.dataclass(frozen=True)
class Waves(Rated):
    """What `sine` can be asked for: high rates do best, where they do not diverge."""

    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (
        1e-2,
        3e-2,
    )
    """Each is tried with each model; validation data chooses."""
    waves: Annotated[tuple[int, ...], Flag(metavar="[NUMBER ...]")] = ()
    """How many training waves there are, one table row for each model and number: of 1, 10,
    100, 1000 and 10000. By default 10, or all of these with --preset paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.waves) <= set(SIZES.values()):
            raise ValueError(
                f"`--waves` needs some of {' '.join(map(str, SIZES.values()))}; got "
                f"{' '.join(map(str, self.waves))}."
            )


def quick(decode: Callable[[Any], wj.AbstractDecoder], key: jax.Array) -> wj.WARP:
    """Returns a WARP of about 11 000 parameters."""
    keys = jr.split(key, 3)
    network = eqx.nn.MLP(1, 1, 16, 2, jnn.silu, key=keys[0])
    theta = wj.NetworkDecoder(network).flatten(network)
    return wj.WARP(
        decoder=decode(network),
        transition=wj.LowRankTransition(
            theta.size, 1, 8, length=LENGTH, cycles=1, key=keys[1]
        ),
        initial=wj.Hypernetwork(1, theta.size, 1, width=16, theta=theta, key=keys[2]),
    )


def paper(decode: Callable[[Any], wj.AbstractDecoder], key: jax.Array) -> wj.WARP:
    """Returns the paper's WARP."""
    return published(1, 1, width=48, depth=3, decode=decode, key=key)


def warps(preset: str, key: jax.Array) -> dict[str, wj.WARP]:
    """Returns the WARPs with and without a law; all begin with the same weights."""
    make = {"quick": quick, "paper": paper}[preset]
    made = {name: make(decode, key) for name, decode in DECODERS.items()}
    return made | {f"{name}, held": held(made[name]) for name in HELD}


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, Model]:
    """Returns all models, those without a law of about equal size."""
    warp_key, rival_key = jr.split(key)
    made = warps(preset, warp_key)
    others = rivals(
        1,
        1,
        length=LENGTH,
        scale=change(data),
        parameters=count(made["WARP"]),
        key=rival_key,
    )
    return {**made, **others}


def waves(train: Split, size: int, batch: int) -> Split:
    """Returns the first `size` waves, again and again until they fill a batch: so that a
    batch has one shape whatever the size is.
    """
    return train.take(np.arange(max(size, batch)) % size)


def run(config: Waves) -> dict:
    """Predict a sine of random phase from its first value; train on 1 to 10 000 of them."""
    config, _ = resolve("sine", config)
    data = make_sine()
    rates, preset, task = (
        config.learning_rates,
        config.preset,
        Reconstruction(context=1),
    )
    made = models(data, preset, config.key("models"))
    sizes = config.waves or WAVES[preset]
    names = [_full(size, name) for name in made for size in sizes]
    run = Run("sine", data.name, config, names)
    curves: dict[str, dict[int, float]] = {}
    examples = {}
    for name, model in made.items():
        for size in sizes:
            title, full = TITLES[size], _full(size, name)
            if not run.wants(full):
                continue
            batch = min(BATCH[preset], max(size, BATCH["quick"]))
            trial = Trial(
                name=full,
                model=model,
                loss=task.loss,
                batches=wj.Batches(
                    waves(data.train, size, batch),
                    batch,
                    key=run.key("batches", title),
                ),
                steps=config.steps or STEPS[preset],
                state_size=model.decoder.state_size,
                validate=task.validate(data.validation),
                test=task.test(data.test),
                weight_decay=0.0,
                notes={"train_size": size},
            )
            trained = run.choose(full, trial.at(rates))
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


def _full(size: int, name: str) -> str:
    return f"{TITLES[size]} ({size:,}): {name}"


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
