"""model, contexts -> forecasts of models that gradient steps have adapted to each."""

import time
from typing import cast, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import warp_jax as wj

from ._data import Split
from ._mapped import batched
from ._tasks import Forecast
from .baselines import Model


class Tuning(NamedTuple):
    """How a model is adapted to a context: `steps` updates by Adam at a learning `rate`."""

    steps: int
    rate: float


def adapted(
    model: Model, xs: Float[Array, "t d"], ts: Float[Array, " t"], tuning: Tuning
) -> Model:
    """Returns the model after gradient steps on its predictions of the next observation,
    within one context `xs` at the times `ts`. Pure, so that `jax.vmap` adapts to many
    contexts at once, which a training by `warp_jax.fit` could not.
    """
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adam(tuning.rate)

    def loss(weights):
        return wj.mse(eqx.combine(weights, rest)(xs[:-1], ts[:-1], ts[1:]), xs[1:])

    def step(carry, _):
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights), state)
        return (optax.apply_updates(weights, updates), state), None

    start = weights, optimizer.init(weights)
    (weights, _), _ = lax.scan(step, start, None, length=tuning.steps)
    return cast(Model, eqx.combine(weights, rest))


def forecasts(
    task: Forecast, model: Model, split: Split, tuning: Tuning | None
) -> Float[np.ndarray, "n s y"]:
    """Returns predictions of every `xs[1:]`, by the model as adapted to its context, or by
    the model as it is.
    """

    if tuning is None:
        return task.predictions(model, split.xs)

    def piece(xs):
        return _forecasts(task, model, jnp.asarray(xs), tuning)

    return np.asarray(batched(piece, split.xs))


@eqx.filter_jit
def _forecasts(task, model, xs, tuning):
    ts = jnp.linspace(0, 1, xs.shape[1], dtype=xs.dtype)[: task.context]

    def one(xs):
        return task.predict(adapted(model, xs[: task.context], ts, tuning), xs)

    return jax.vmap(one)(xs)


def choose(
    task: Forecast, model: Model, validation: Split, tunings: list[Tuning]
) -> tuple[Tuning, dict[str, float]]:
    """Returns the tuning that validation data chooses, and what each has there."""
    found = {
        tuning: task.metrics(
            task.squared(forecasts(task, model, validation, tuning), validation)
        )
        for tuning in tunings
    }
    figures = {
        f"validation_{t.steps}_at_{t.rate:g}": metrics["forecast_mse"]
        for t, metrics in found.items()
    }
    return min(found, key=lambda t: found[t]["forecast_mse"]), figures


def cost(task: Forecast, model: Model, split: Split, tuning: Tuning | None) -> float:
    """Returns seconds of processor time that a forecast of one sequence takes, compiled."""
    forecasts(task, model, split, tuning)
    begun = time.process_time()
    forecasts(task, model, split, tuning)
    return (time.process_time() - begun) / len(split.xs)
