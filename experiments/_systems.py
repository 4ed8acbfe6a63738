"""data, task, models -> a run: what the experiments on dynamical systems have in common."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

import warp_jax as wj

from . import _figures as figures
from ._config import Rated
from ._data import Dataset
from ._models import rivals, warp
from ._run import Run
from ._sizes import count
from ._tasks import AbstractForecast
from ._trial import Trial
from .baselines import Model


def change(data: Dataset, outputs: int | None = None) -> float:
    """Returns the root mean square change from step to step of the training data."""
    steps = np.diff(data.train.xs[..., :outputs], axis=1)
    return float(np.sqrt(np.mean(steps**2)))


def contenders(
    data: Dataset,
    key: jax.Array,
    *,
    make: Callable[..., wj.WARP] | None = None,
    scale: float | None = None,
) -> dict[str, Model]:
    """Returns a WARP and the baselines of about its size, for forecasts of all channels.

    - `make`: `(inputs, outputs, key=key) -> WARP`; by default `warp` of this length and
        scale.
    - `scale`: of what is predicted; by default the root mean square change.
    """
    warp_key, rival_key = jax.random.split(key)
    _, length, channels = data.train.xs.shape
    scale = change(data) if scale is None else scale
    make = make or functools.partial(warp, length=length, scale=scale)
    model = make(channels, channels, key=warp_key)
    return {
        "WARP": model,
        **rivals(
            channels,
            channels,
            length=length,
            scale=scale,
            parameters=count(model),
            key=rival_key,
        ),
    }


def compare(
    run: Run,
    data: Dataset,
    task: AbstractForecast,
    models: Mapping[str, Model],
    *,
    steps: Mapping[str, int],
    batch: Mapping[str, int],
) -> dict[str, Model]:
    """Trains and tests every model with the same batches, steps and learning rates, of
    which validation data chooses; draws the learning curves, and returns the models.

    - `steps`, `batch`: by preset.
    """
    config = run.config
    assert isinstance(config, Rated)
    trained, updates = {}, config.steps or steps[config.preset]
    for name, model in models.items():
        if not run.wants(name):
            continue
        trial = Trial(
            name=name,
            model=model,
            loss=task.loss,
            batches=task.batches(
                data.train,
                min(batch[config.preset], len(data.train.xs)),
                updates,
                run.key("batches"),
            ),
            steps=updates,
            state_size=model.decoder.state_size,
            validate=task.validate(data.validation),
            test=task.test(data),
            weight_decay=0.0,
        )
        trained[name] = run.choose(name, trial.at(config.learning_rates))
    if curves := run.curves():
        drawn = figures.learning_curves(curves, "validation forecast MSE")
        run.figure("learning_curves", drawn)
    return trained


def predictions(
    task: AbstractForecast, trained: Mapping[str, Model], *arrays: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns every model's predictions of one sequence, `(time - 1, out)`.

    - `arrays`: what `task.predict` takes of the sequence, beginning with its `xs`.
    """
    return {
        name: np.asarray(task.predict(model, *map(jnp.asarray, arrays)))
        for name, model in trained.items()
    }


def draw(run: Run, xs: np.ndarray, predicted: Mapping[str, np.ndarray]) -> None:
    """Draws the first channel of a sequence and of what is predicted of it."""
    first = {name: outputs[:, 0] for name, outputs in predicted.items()}
    run.figure("trajectories", figures.overlay(xs[1:, 0], first))
