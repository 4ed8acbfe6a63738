"""The chaotic system of Lorenz (1963, Journal of the Atmospheric Sciences 20)."""

import pathlib

import jax.numpy as jnp
import numpy as np

from .dataset import Dataset, Split, unlabelled
from .made import assemble, cached, integrate, Sizes


STEP = 0.02
LENGTHS = {"quick": 100, "paper": 1000}
SIGMA, BETA = 10.0, 8 / 3
RHO, OUTSIDE = (28.0, 28.0), (30.0, 36.0)
# Time that a random start is given to reach the attractor.
SETTLE = 20.0
SIZES = {"quick": Sizes(1024, 128, 256), "paper": Sizes(8192, 512, 1024)}


def make_lorenz(
    sizes: Sizes = SIZES["quick"],
    length: int = LENGTHS["quick"],
    folder: pathlib.Path | None = None,
) -> Dataset:
    """Returns trajectories on the attractor, `(example, length, 3)`, sampled every 0.02,
    with sigma = 10, beta = 8 / 3 and rho = 28.

    The test set is out of distribution: rho is uniform from 30 to 36. Each channel has mean
    0 and deviation 1 over the training part.

    - `folder`: where the trajectories are kept, see `cached`.
    """
    configuration = {
        "sizes": list(sizes),
        "length": length,
        "step": STEP,
        "rho": [RHO, OUTSIDE],
        "version": 1,
    }
    raw = cached(
        "lorenz", lambda: _trajectories(sizes, length), folder, **configuration
    )
    mean, scale = (f((0, 1), np.float64) for f in (raw["train"].mean, raw["train"].std))

    def normalised(part: str) -> Split:
        return unlabelled((raw[part] - mean) / scale)

    parts = ("train", "validation", "test", "in_range")
    splits = map(normalised, parts)
    return Dataset("lorenz", *splits, scale=scale, centre=mean)


def _trajectories(sizes: Sizes, length: int) -> dict[str, np.ndarray]:
    def part(random, count: int, outside: bool) -> Split:
        constants = random.uniform(*(OUTSIDE if outside else RHO), (count, 1))
        starts = random.normal((0, 0, 25), 1, (count, 3))
        times = SETTLE + STEP * np.arange(length)
        xs = integrate(_field, starts, constants, np.append(0, times))[:, 1:]
        return unlabelled(xs)

    parts = assemble("lorenz", sizes, part).named
    return {name: part.xs for name, part in parts.items()}


def _field(place, constants):
    (x, y, z), (rho,) = place, constants
    return jnp.stack([SIGMA * (y - x), x * (rho - z) - y, x * y - BETA * z])
