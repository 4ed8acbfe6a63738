"""windows at irregular times, with gaps -> forecasts of their second part, and a run."""

from typing import Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import warp_jax as wj

from ._config import Rated
from ._covariances import BestLinear, NOISES
from ._data import data_folder, Dataset, load_irregular_silverbox, Sampling, Split
from ._data.silverbox import GIVEN, WINDOW
from ._mapped import mapped
from ._models import Still
from ._rivals import rival
from ._run import Run
from ._sizes import count
from ._systems import compare, draw, predictions
from ._tasks import AbstractForecast
from .baselines import AbstractCell, ControlledGaps, Field, Model, Recurrent, TOLD, Told


# How many steps a neural CDE's channel of time takes to gain one.
PACE = 4
# Steps in which states forget, and updates: few at a time are needed for what is read in
# one pass.
MEMORY = 32
STEPS = {"quick": 1000, "paper": 4000}
BATCH = {"quick": 16, "paper": 64}


class GappyForecast(AbstractForecast):
    """The first signal over the second part of a window, from what is seen of all signals
    over the first one and of the others over the second: the response of a driven system
    to an input that is measured at irregular times, with gaps.

    Nothing that is predicted is fed back: of the first signal a model sees no more than
    that it is missing.

    Windows are as `experiments._data.irregular.windows` makes them. The loss is the squared
    error where the signal was seen; so is validation's figure. A test knows all of it.

    - `context`: steps of the first part.
    - `scale`: what an error of one means, in the units of the metrics.
    """

    context: int = eqx.field(static=True)
    scale: float = eqx.field(static=True, default=1.0)

    def predict(self, model, xs, *arrays) -> Float[Array, "s 1"]:
        """Returns predictions of `xs[1:]`, each from what was seen until its time."""
        seen, ts = xs[:, :-2], xs[:, -1]
        later = jnp.arange(len(xs)) >= self.context
        first = jnp.where(later, jnp.nan, seen[:, 0])
        return model(seen.at[:, 0].set(first), ts)[1:]

    def loss(self, model, batch, key):
        def ahead(xs):
            return self.predict(model, xs)[self.context - 1 :]

        wanted = batch.xs[:, self.context :, -2:-1]
        return wj.mse(jax.vmap(ahead)(batch.xs), wanted, ~jnp.isnan(wanted))

    def evaluate(self, model, split: Split) -> dict[str, float]:
        predicted = mapped(self.predict, model, split.xs)[:, self.context - 1 :]
        return self.metrics(predicted, split)

    def metrics(self, predicted: np.ndarray, split: Split) -> dict[str, float]:
        """Returns the metrics of predictions, `(windows, horizon, 1)`."""
        errors = self.scale * (predicted - split.xs[:, self.context :, -2:-1])
        mse = float(np.nanmean(np.square(errors, dtype=np.float64)))
        return {"horizon_mse": mse, "horizon_rmse": mse**0.5}

    def validate(self, split: Split):
        return lambda model: self.evaluate(model, split)["horizon_mse"]


def mean(xs: Float[Array, "t d"], ts: Float[Array, " t"]) -> Float[Array, "t 1"]:
    """Returns the forecast that all is as usual: the training's mean, which is zero."""
    return jnp.zeros((len(xs), 1), xs.dtype)


def models(
    signals: int, length: int, memory: int, outputs: int, key: Any
) -> dict[str, Model]:
    """Returns WARPs and rivals of about their size, each of which is told what is missing
    and how long steps took.

    - `memory`: steps in which states forget.
    """
    drive_key, warp_key, key = jr.split(key, 3)
    told = TOLD.size(signals)
    # What enters a recurrence can depend on whether it was seen: a product of the two.
    network = eqx.nn.MLP(told, 16, 32, 1, jnn.silu, key=drive_key)
    drives = {
        "WARP": wj.EmbeddedDrive(TOLD, network),
        "WARP, increments": wj.Gaps(wj.Increments(), seen_channels=True),
    }
    made: dict[str, Model] = {
        name: warp(signals, memory, outputs, wj.Elapsed(drive), warp_key)
        for name, drive in drives.items()
    }
    cells = {"GRU": "GRU", "LRU": "LRU", "neural CDE": controlled}
    for name, own in zip(cells, jr.split(key, len(cells))):
        plain = rival(
            cells[name],
            told,
            outputs,
            length=length,
            parameters=count(made["WARP"]),
            coordinates=Still(),
            key=own,
        )
        made[name] = aware(plain)
    return made


def warp(
    signals: int, memory: int, outputs: int, drive: wj.Elapsed, key: Any
) -> wj.WARP:
    """Returns a WARP in continuous time, of damped oscillations in a subspace. One unit of
    time is one step.
    """
    network_key, mode_key, map_key, initial_key = jr.split(key, 4)
    network = eqx.nn.MLP(1 + signals, outputs, 16, 2, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network, observe=True)
    size, driven = decoder.state_size, drive.size(signals) - 1
    modes = wj.SpectralTransition(32, driven, length=memory, key=mode_key)
    return wj.WARP(
        decoder=decoder,
        transition=wj.SubspaceTransition(
            size, wj.ContinuousTime(modes, 1.0), key=map_key
        ),
        initial=wj.Hypernetwork(
            signals, size, 1, width=8, theta=decoder.flatten(network), key=initial_key
        ),
        drive=drive,
        coordinates=Still(),
    )


def controlled(inputs: int, size: int, length: int, key: Any) -> AbstractCell:
    """Returns a neural CDE that is driven by values, counts and the time."""
    field_key, first_key = jr.split(key)
    field = Field(inputs, size, size, key=field_key)
    return ControlledGaps(inputs, field, length=PACE, key=first_key)


def aware(model: Recurrent) -> Told:
    """Returns the model with its cell told of gaps and times."""
    return Told(model.cell, model.decoder, model.coordinates)


def run_irregular(config: Rated, sampling: Sampling) -> dict:
    """Forecasts the output of Silverbox from irregular samples of it and of its input: the
    second half of a `silverbox` run.
    """
    data = load_irregular_silverbox(data_folder(config.data), sampling)
    assert data.scale is not None
    task = GappyForecast(GIVEN, float(data.scale[0]))
    made = models(2, WINDOW, MEMORY, 1, config.key("models"))
    named = {f"{sampling.name}: {name}": model for name, model in made.items()}
    run = Run("silverbox", data.name, config, named)
    trained = compare(run, data, task, named, steps=STEPS, batch=BATCH)
    run.reference(f"{sampling.name}: mean", task.test(data)(mean))
    run.reference(f"{sampling.name}: best linear", _best_linear(config, data, task))
    shown = data.test.xs[0]
    draw(run, shown[:, -2:], predictions(task, trained, shown))
    return run.finish()


def _best_linear(config: Rated, data: Dataset, task: GappyForecast) -> dict[str, float]:
    """Returns the metrics of the best linear forecast, told of the recording as it is."""
    whole = load_irregular_silverbox(data_folder(config.data), Sampling())
    linear = BestLinear(whole.train.xs[..., :-2], task.context)

    def metrics(split: Split, noise: float) -> dict[str, float]:
        return task.metrics(linear(split, noise), split)

    noise = min(NOISES, key=lambda n: metrics(data.validation, n)["horizon_mse"])
    assert data.in_range is not None
    inside = metrics(data.in_range, noise)
    return metrics(data.test, noise) | {f"in_range_{k}": v for k, v in inside.items()}
