"""name of a data set -> what `ablations` asks of a model on it, and the base recipe."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import warp_jax as wj

from ._axes import COMMON, LAST
from ._data import (
    Dataset,
    Gathered,
    load_digits,
    load_images,
    load_series,
    load_uea,
    make_msd,
    Pictures,
    Split,
)
from ._models import residual
from ._recipes import Recipe, Shape, waves
from ._systems import change
from ._tasks import Unrolled
from ._windows import DirectForecast, less
from .baselines import repeat


BATCH = 32
CLASSIFIED = (*COMMON, "read", "coordinates, pooled", "layers")
REGRESSED = (*COMMON, "coordinates", "loss")
CONTEXT, HORIZON = 96, 96
# Every so many windows of a series choose.
CHOOSING = 16


class Problem(NamedTuple):
    """- `name`: of the data set.
    - `shape`: sizes of what is seen and asked for.
    - `base`: the recipe that variants differ from.
    - `axes`: those that mean something here.
    - `metric`: what figures show.
    - `batches`: key -> what gives the batch of each step.
    - `validation`, `test`: as the task takes them.
    """

    name: str
    shape: Shape
    base: Recipe
    axes: tuple[str, ...]
    metric: str
    batches: Callable[[Any], Callable[[int], Any]]
    validation: Split
    test: Split | Dataset


def _classified(data: Dataset, cycles: float) -> Problem:
    """The class of a sequence, by the last state alone, in which all has to be that is to
    be remembered.
    """
    _, length, channels = data.train.xs.shape
    size = min(BATCH, len(data.train.xs))
    return Problem(
        data.name,
        Shape(channels, data.classes, length, length),
        Recipe(LAST, cycles=cycles),
        CLASSIFIED,
        "test_accuracy",
        lambda key: wj.Batches(data.train, size, key=key),
        data.validation,
        data.test,
    )


def _digits(folder: pathlib.Path) -> Problem:
    return _classified(load_digits(), 10.0)


def _uea(name: str, folder: pathlib.Path) -> Problem:
    return _classified(load_uea(name, folder), 3.0)


def _pictures(name: str, folder: pathlib.Path) -> Problem:
    """Pictures of half as many rows and columns, each pixel the mean of four."""
    images = load_images(name, folder)
    train, validation, test = (halved(part).sequences() for part in images[1:])
    data = Dataset(f"{images.name}, halved", train, validation, test)
    return _classified(data, 10.0)


def halved(pictures: Pictures) -> Pictures:
    """Returns the means of two by two pixels, rounded; an odd row or column is left out."""
    pixels = pictures.pixels
    count, height, width, channels = pixels.shape
    rows, columns = height // 2, width // 2
    even = pixels[:, : 2 * rows, : 2 * columns]
    fours = even.reshape(count, rows, 2, columns, 2, channels)
    means = fours.mean((2, 4), dtype=np.float32)
    return pictures._replace(pixels=np.round(means).astype(np.uint8))


def _msd(folder: pathlib.Path) -> Problem:
    """Mass-spring-dampers, forecast by free runs: 25 of 64 steps are given."""
    data = make_msd()
    assert data.scale is not None
    _, length, channels = data.train.xs.shape
    return Problem(
        data.name,
        Shape(channels, channels, length, length),
        Recipe(
            Unrolled(25, scale=tuple(data.scale.tolist())),
            observe=True,
            finish=functools.partial(residual, scale=change(data)),
        ),
        (*REGRESSED, "forcing"),
        "forecast_mse_median",
        lambda key: wj.Batches(data.train, BATCH, key=key),
        data.validation,
        data,
    )


def _series(name: str, folder: pathlib.Path) -> Problem:
    """Each channel of a series alone, all steps ahead read at once off the last state, as a
    correction of the last value.
    """
    series = load_series(name, folder).alone()
    data = series.windows(CONTEXT, HORIZON)
    alone = functools.partial(less, context=CONTEXT, forecast=repeat(1, HORIZON))
    channels = data.train.xs.shape[2]
    return Problem(
        data.name,
        Shape(1, 1, CONTEXT, CONTEXT + HORIZON),
        Recipe(
            DirectForecast(CONTEXT, tuple(series.scale.tolist())),
            cycles=10.0,
            coordinates=waves,
        ),
        REGRESSED,
        "test_mse",
        lambda key: Gathered(
            lambda which: alone(data.train.take(which)),
            len(data.train.xs),
            max(1, 4 * BATCH // channels),
            key=key,
        ),
        alone(data.validation.take(slice(None, None, CHOOSING))),
        alone(data.test),
    )


PROBLEMS: dict[str, Callable[[pathlib.Path], Problem]] = {
    "digits": _digits,
    "msd": _msd,
    **{n: functools.partial(_pictures, n) for n in ("mnist", "fashion-mnist")},
    **{
        f"ETT{n}": functools.partial(_series, f"ETT{n}")
        for n in ("h1", "h2", "m1", "m2")
    },
}


def load_problem(name: str, folder: pathlib.Path) -> Problem:
    """Returns the problem of this name: of `PROBLEMS`, or of a data set of the UEA archive.

    **Raises:** `ValueError` for data that cannot be had.
    """
    make = PROBLEMS.get(name, functools.partial(_uea, name))
    return make(folder)
