"""gradients: how large the gradient of an untrained model is, by the length of a sequence.

Eight smooth signals are sampled at T points over the same span of time, and read once,
after the last point, against random targets. Nothing is trained. Rows are transitions: as
they start; `moved`, with noise on every number of the transition, about the size of a few
updates; and `bounded`, the same ones after `RadiusBound(1.0)`. Metrics of each length are

- `gradient_T`: the norm of the loss's gradient in all numbers of the transition.
- `first_T`: its norm in the first state: what is still told of where a sequence began.
- `radius_T`: the spectral radius of A.

What overflows has no figure.
"""

import dataclasses
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import warp_jax as wj

from ._config import Config, resolve
from ._run import Run, task_of
from ._sizes import count


LENGTHS = {"quick": (64, 256), "paper": (64, 256, 1024, 4096)}
INPUT = 2
BATCH = 8
RANK = 16

# (state size, length, key) -> a transition for sequences of about that length.
Make = Callable[[int, int, jax.Array], wj.AbstractTransition]
TRANSITIONS: dict[str, Make] = {
    "dense": lambda size, length, key: wj.DenseTransition(size, INPUT),
    "block-diagonal": lambda size, length, key: wj.BlockDiagonalTransition(
        size, INPUT, RANK
    ),
    "diagonal": lambda size, length, key: wj.DiagonalTransition(size, INPUT),
    "low rank": lambda size, length, key: wj.LowRankTransition(
        size, INPUT, RANK, length=length, key=key
    ),
    "subspace": lambda size, length, key: wj.SubspaceTransition(
        size, wj.SpectralTransition(RANK, INPUT, length=length, key=key), key=key
    ),
}


@dataclasses.dataclass(frozen=True)
class Options(Config):
    """What `gradients` can be asked for. Its `--steps` has no use: nothing is trained."""

    noise: float = 3e-4
    """Standard deviation of what is added to every number of a transition that is moved."""


def signals(length: int, key: jax.Array) -> jax.Array:
    """Returns sums of five sines, of one to five cycles over [0, 1], sampled at `length`
    points, `(signal, time, input)`; the signals themselves depend on the key alone.
    """
    phase_key, size_key = jr.split(key)
    phases = jr.uniform(phase_key, (BATCH, 1, INPUT, 5), maxval=2 * jnp.pi)
    sizes = jr.normal(size_key, (BATCH, 1, INPUT, 5))
    times = jnp.linspace(0, 1, length).reshape(1, length, 1, 1)
    cycles = jnp.arange(1, 6).reshape(1, 1, 1, 5)
    waves = jnp.sin(2 * jnp.pi * cycles * times + phases)
    return jnp.sum(sizes * waves, axis=-1) / 5**0.5


@eqx.filter_jit
def norms(model: wj.WARP, xs: jax.Array, targets: jax.Array) -> tuple:
    """Returns the norms of the gradient in the transition, and in the first state."""

    def loss(model):
        return wj.mse(jax.vmap(model.last)(xs), targets)

    gradient = eqx.filter_grad(loss)(model)
    return optax.tree.norm(gradient.transition), optax.tree.norm(gradient.initial)


def run(config: Options) -> dict:
    """Measure gradients of untrained models by the length of the sequences."""
    config, _ = resolve("gradients", config)
    run = Run("gradients", "waves", config, TRANSITIONS)
    key = run.key("network")
    network = eqx.nn.MLP(1, INPUT, 16, 2, jax.nn.silu, key=key)
    decoder = wj.NetworkDecoder(network)
    targets = jr.normal(run.key("targets"), (BATCH, INPUT))
    bound = wj.RadiusBound(1.0)
    for name, make in filter(lambda item: run.wants(item[0]), TRANSITIONS.items()):
        metrics: dict[str, dict[str, float]] = {}
        parameters = 0
        for length in LENGTHS[config.preset]:
            xs = signals(length, run.key("signals"))
            start = make(decoder.state_size, length, run.key(name))
            moved = _moved(start, config.noise, run.key(name, "noise"))
            parameters = count(start)
            for task, transition in {
                "start": start,
                "moved": moved,
                "bounded": bound(moved),
            }.items():
                model = wj.WARP(
                    decoder=decoder,
                    transition=transition,
                    initial=wj.LearntInitial(decoder.flatten(network)),
                )
                gradient, first = norms(model, xs, targets)
                found = {
                    f"gradient_{length}": float(gradient),
                    f"first_{length}": float(first),
                    f"radius_{length}": float(wj.spectrum(transition).radius),
                }
                found = {name: n for name, n in found.items() if math.isfinite(n)}
                metrics.setdefault(task, {}).update(found)
        sizes = {"parameters": parameters, "state_size": decoder.state_size}
        for task, figures in metrics.items():
            run.reference(f"{task}: {name}", figures, **sizes)
    return run.finish(task_of)


def _moved(
    transition: wj.AbstractTransition, noise: float, key: jax.Array
) -> wj.AbstractTransition:
    """Returns a transition with noise on every number that is trained."""
    weights, rest = eqx.partition(transition, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(weights)
    keys = jr.split(key, len(leaves))
    leaves = [
        leaf + noise * jr.normal(own, leaf.shape) for leaf, own in zip(leaves, keys)
    ]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)
