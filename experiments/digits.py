"""digits: classification and completion of real handwritten digits, pixel by pixel."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._completion import (
    AutoregressiveCompletion,
    Completion,
    completion_metrics,
    with_deviation,
)
from ._config import Config, resolve
from ._data import Dataset, load_digits
from ._data.digits import SIDE
from ._run import Run
from ._tasks import Classification
from ._trial import Trial
from .baselines import GRU, LRU, Model, recurrent


LENGTH, GIVEN = SIDE * SIDE, SIDE * SIDE // 2
BATCH = 64
TASKS = {
    "classification": Classification(),
    "completion": Completion(GIVEN),
    "autoregressive": AutoregressiveCompletion(GIVEN),
}
STEPS = {
    "quick": {"classification": 3000, "completion": 1000, "autoregressive": 400},
    "paper": {"classification": 10_000, "completion": 10_000, "autoregressive": 10_000},
}
# The best of 1e-3, 3e-3 and 1e-2 on validation data with seed 0, for each model and task.
RATES = {
    "classification": {"WARP": 1e-3, "GRU": 1e-2, "LRU": 3e-3},
    "completion": {"WARP": 1e-3, "GRU": 1e-2, "LRU": 1e-2},
    "autoregressive": {"WARP": 3e-3, "GRU": 1e-2, "LRU": 1e-2},
}


def classifiers(key: jax.Array) -> dict[str, Model]:
    """Models of about 26 000 parameters each."""
    sizes = {"WARP": (32, 1), "GRU": (80, 64), "LRU": (128, 96)}
    return _models(10, sizes, wj.TimeCoordinate(), lambda decoder: decoder, key)


def completers(key: jax.Array) -> dict[str, Model]:
    """Models of about 56 000 parameters each, that give a mean and a deviation."""
    sizes = {"WARP": (20, 2), "GRU": (122, 68), "LRU": (128, 202)}
    return _models(2, sizes, wj.RasterCoordinates(SIDE, SIDE, waves=4), _gaussian, key)


MODELS = {
    "classification": classifiers,
    "completion": completers,
    "autoregressive": completers,
}


def _gaussian(decoder: wj.AbstractDecoder) -> wj.AbstractDecoder:
    return wj.GaussianDecoder(decoder, min_std=5e-2)


def _models(
    out_size: int,
    sizes: dict[str, tuple[int, int]],
    coordinates: wj.AbstractCoordinates,
    wrap: Callable[[wj.AbstractDecoder], wj.AbstractDecoder],
    key: jax.Array,
) -> dict[str, Model]:
    keys = jr.split(key, 6)
    width, depth = sizes["WARP"]
    network = eqx.nn.MLP(
        coordinates.out_size, out_size, width, depth, jnn.relu, key=keys[0]
    )
    decoder = wj.NetworkDecoder(network)
    warp = wj.WARP(
        decoder=wrap(decoder),
        transition=wj.LowRankTransition(
            decoder.state_size, input_size=1, rank=32, length=LENGTH, key=keys[1]
        ),
        initial=wj.LearntInitial(decoder.flatten(network)),
        coordinates=coordinates,
    )

    def baseline(name: str, cell_type, cell_key, head_key) -> Model:
        hidden, width = sizes[name]
        return recurrent(
            cell_type(1, hidden, key=cell_key),
            out_size,
            width,
            coordinates=coordinates,
            wrap=wrap,
            key=head_key,
        )

    return {
        "WARP": warp,
        "GRU": baseline("GRU", GRU, keys[2], keys[3]),
        "LRU": baseline("LRU", LRU, keys[4], keys[5]),
    }


def references(data: Dataset) -> dict[str, wj.Gaussian]:
    """Completions that need no training: the mean image, and the last given row repeated.
    Their deviations are those of the training images.
    """

    def last_row(xs):
        return np.tile(xs[:, GIVEN - SIDE : GIVEN], (1, (LENGTH - GIVEN) // SIDE, 1))

    train, test = data.train.xs, data.test.xs
    truth = train[:, GIVEN:]
    means = {"mean image": truth.mean(0), "last row": last_row(train)}
    outputs = {"mean image": truth.mean(0), "last row": last_row(test)}
    shape = test[:, GIVEN:].shape
    return {
        name: with_deviation(outputs[name], truth - mean, shape)
        for name, mean in means.items()
    }


def run(config: Config) -> dict:
    """Classify digits of 8 x 8 pixels, and complete their lower halves."""
    config, _ = resolve("digits", config)
    data = load_digits()
    made = {
        f"{title}: {name}": (title, name, model)
        for title in TASKS
        for name, model in MODELS[title](config.key(title)).items()
    }
    run = Run("digits", data.name, config, made)
    trained = {}
    for full, (title, name, model) in made.items():
        if run.wants(full):
            task = TASKS[title]
            trial = Trial(
                name=full,
                model=model,
                loss=task.loss,
                batches=wj.Batches(data.train, BATCH, key=run.key("batches")),
                steps=config.steps or STEPS[config.preset][title],
                state_size=model.decoder.state_size,
                validate=task.validate(data.validation),
                test=task.test(data.test),
                learning_rate=RATES[title][name],
            )
            trained[full] = run.train(trial)
    baselines = references(data)
    for name, gaussian in baselines.items():
        truth = data.test.xs[:, GIVEN:]
        run.reference(f"completion: {name}", completion_metrics(gaussian, truth))
    run.figure(
        "learning_curves", figures.learning_curves(run.curves(), "validation NLL")
    )
    _draw(run, data, trained, baselines)
    return run.finish()


def _draw(run: Run, data: Dataset, trained: dict, baselines: dict) -> None:
    """Draws completed digits, forecast bands and the trajectory of the weights."""
    some = data.test.head(8)
    predicted = dict(baselines)
    for name, model in trained.items():
        task = TASKS[name.split(":")[0]]
        if isinstance(task, Completion):
            predicted[name] = jax.vmap(task.predict, (None, 0))(model, some.xs)
    columns = {"original": some.xs}
    for name, gaussian in predicted.items():
        lower = np.asarray(gaussian.mean[:8])
        columns[name.replace(": ", "\n")] = np.concatenate(
            [some.xs[:, :GIVEN], lower], 1
        )
    pictures = {k: v.reshape(-1, SIDE, SIDE) for k, v in columns.items()}
    run.figure("completed_digits", figures.images(pictures))
    for name, model in trained.items():
        if name in predicted and isinstance(model, wj.WARP):
            mean, std = predicted[name].mean[:3, :, 0], predicted[name].std[:3, :, 0]
            bands = figures.bands(some.xs[:3, :, 0], mean, std, GIVEN)
            run.figure(f"forecast_{name.split(':')[0]}", bands)
        elif isinstance(model, wj.WARP):
            shown = data.test.head(60)
            thetas = np.asarray(jax.vmap(model.weights)(jnp.asarray(shown.xs)))
            title = "The weights of 60 digits, pixel by pixel; colour: class"
            trajectories = figures.weight_trajectories(thetas, shown.labels, title)
            run.figure("weight_trajectories", trajectories)
            assert isinstance(model.decoder, wj.NetworkDecoder)
            names = [f"a {label}" for label in shown.labels[:4]]
            run.weights(model.decoder.unflatten, thetas[:4], names)
