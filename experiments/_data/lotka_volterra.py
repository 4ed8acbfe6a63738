"""Repeat-copy of Lotka-Volterra trajectories (arXiv 2506.01153, LV)."""

import pathlib

import jax.numpy as jnp
import numpy as np

from .dataset import Dataset, Split
from .made import assemble, cached, integrate, Sizes


LENGTH = 256
REST = 50
SHORTEST, LONGEST = 32, 63
# a, b, c and d of x' = a x - b x y, y' = c x y - d y, uniform between these.
RANGES = ((20.0, 50.0), (80.0, 120.0), (80.0, 120.0), (20.0, 50.0))
OUTSIDE = ((10.0, 60.0), (70.0, 130.0), (70.0, 130.0), (10.0, 60.0))
SIZES = {"quick": Sizes(1024, 128, 256), "paper": Sizes(15_000, 1024, 3000)}


def make_lotka_volterra(
    sizes: Sizes = SIZES["quick"], folder: pathlib.Path | None = None
) -> Dataset:
    """Returns sequences of prey and predators, `(example, 256, 2)`, in which a piece of a
    trajectory from (1, 1) repeats after 50 zeros, and again; `context` is the length of
    the piece, from 32 to 63 steps, all that a model is given.

    The test set is out of distribution: the four constants have wider ranges. Each channel
    is scaled to [-1, 1] by the least and the greatest of the training trajectories, and the
    zeros are zeros of that scale.

    - `folder`: where the trajectories are kept, see `cached`.
    """
    configuration = {
        "sizes": list(sizes),
        "ranges": [RANGES, OUTSIDE],
        "length": LENGTH,
        "version": 1,
    }
    raw = cached(
        "lotka-volterra", lambda: _trajectories(sizes), folder, **configuration
    )
    low = raw["train_xs"].min((0, 1))
    half = (raw["train_xs"].max((0, 1)) - low) / 2

    def repeated(part: str) -> Split:
        paths, context = (raw[f"{part}_xs"] - low) / half - 1, raw[f"{part}_context"]
        # Where each step stands in its piece, or in the rest after it.
        place = np.arange(LENGTH) % (context[:, None] + REST)
        xs = np.take_along_axis(paths, np.minimum(place, LONGEST)[..., None], axis=1)
        xs = np.where((place < context[:, None])[..., None], xs, 0)
        return Split(
            xs.astype(np.float32), np.zeros(len(xs), np.int32), context=context
        )

    parts = ("train", "validation", "test", "in_range")
    return Dataset("lotka_volterra", *map(repeated, parts), scale=half)


def _trajectories(sizes: Sizes) -> dict[str, np.ndarray]:
    arrays = {}
    for name, part in assemble("lotka_volterra", sizes, _part).named.items():
        arrays |= {f"{name}_xs": part.xs, f"{name}_context": part.context}
    return arrays


def _part(random, count: int, outside: bool) -> Split:
    low, high = np.transpose(OUTSIDE if outside else RANGES)
    constants = random.uniform(low, high, (count, 4))
    context = random.integers(SHORTEST, LONGEST + 1, count).astype(np.int32)
    times = np.linspace(0, 1, LENGTH)[: LONGEST + 1]
    paths = integrate(_field, np.ones((count, 2)), constants, times)
    return Split(paths, np.zeros(count, np.int32), context=context)


def _field(populations, constants):
    (x, y), (a, b, c, d) = populations, constants
    return jnp.stack([a * x - b * x * y, c * x * y - d * y])
