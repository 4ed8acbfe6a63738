"""Mass-spring-dampers, `m x'' + c x' + k x = 0` (arXiv 2506.01153, MSD and MSD-Zero)."""

import functools

import numpy as np
from jaxtyping import Float

from .dataset import Dataset, Split, unlabelled
from .made import assemble, Sizes, stream


LENGTHS = {"quick": 64, "paper": 256}
# Mass, stiffness and damping, uniform between these.
RANGES = ((0.02, 0.04), (4.0, 16.0), (0.01, 0.2))
OUTSIDE = ((0.01, 0.05), (2.0, 18.0), (0.01, 0.3))
# Of the position and of the velocity, which reaches 28.
SCALE = np.array([1.0, 20.0])
SIZES = {"quick": Sizes(2048, 128, 256), "paper": Sizes(20_480, 1024, 4096)}
ZERO_SIZES = {"quick": Sizes(2048, 128, 256), "paper": Sizes(8192, 1024, 2048)}


def make_msd(sizes: Sizes = SIZES["quick"], length: int = LENGTHS["quick"]) -> Dataset:
    """Returns trajectories of position and velocity, `(example, length, 2)`, at times
    evenly over [0, 1], from (1, 0).

    The test set is out of distribution: each of mass, stiffness and damping has a range
    about one and a half times as wide. The velocity is divided by 20.
    """
    return assemble("msd", sizes, functools.partial(_part, length, 0.0), SCALE)


def make_msd_zero(
    sizes: Sizes = ZERO_SIZES["quick"], length: int = LENGTHS["quick"]
) -> Dataset:
    """Returns what `make_msd` does, but from starts uniform within (1, 0) ± 0.5."""
    return assemble("msd_zero", sizes, functools.partial(_part, length, 0.5), SCALE)


def make_widened(widening: float, count: int, length: int) -> Split:
    """Returns trajectories as those of `make_msd`, of constants from wider ranges.

    - `widening`: 0 for the ranges of the training set, 1 for those of the test set, and
        beyond it as much further; below 2, where masses would vanish.
    """
    if not 0 <= widening < 2:
        raise ValueError(
            "`make_widened(widening, count, length)` needs 0 <= widening < 2; got "
            f"widening={widening}."
        )
    return _part(length, 0.0, np.random.default_rng((1, 0)), count, widening)


def constants_of(part: str, count: int) -> Float[np.ndarray, "n 3"]:
    """Returns mass, stiffness and damping of a part of `make_msd` and `make_msd_zero`."""
    return _constants(stream(part), count, float(part == "test"))


def _constants(random, count: int, widening: float) -> Float[np.ndarray, "n 3"]:
    inside, outside = np.transpose(RANGES), np.transpose(OUTSIDE)
    low, high = inside + widening * (outside - inside)
    return random.uniform(low, high, (count, 3))


def _part(length: int, spread: float, random, count: int, widening: float) -> Split:
    constants = _constants(random, count, float(widening))
    starts = np.array([1.0, 0.0]) + random.uniform(-spread, spread, (count, 2))
    return unlabelled(solve(constants, starts, np.linspace(0, 1, length)) / SCALE)


def solve(
    constants: Float[np.ndarray, "n 3"],
    starts: Float[np.ndarray, "n 2"],
    times: Float[np.ndarray, " t"],
) -> Float[np.ndarray, "n t 2"]:
    """Returns position and velocity at `times` after a start, exactly: with
    `g = c / 2m` and `r² = g² - k / m`, complex where it swings,

    `x = exp(-g t) (cosh(r t) x_0 + sinh(r t) / r (v_0 + g x_0))`.
    """
    m, k, c = constants.T[..., None]
    x0, v0 = starts.T[..., None]
    g = c / (2 * m)
    r = np.sqrt((g**2 - k / m).astype(complex))
    cosh = np.real(np.cosh(r * times))
    critical = np.abs(r) < 1e-9
    ratio = np.sinh(r * times) / np.where(critical, 1, r)
    sinh = np.where(critical, times, np.real(ratio))
    decay = np.exp(-g * times)
    x = decay * (cosh * x0 + sinh * (v0 + g * x0))
    v = decay * (cosh * v0 - sinh * (g * v0 + k / m * x0))
    return np.stack([x, v], axis=-1)
