"""samples at a steady rate -> samples at irregular times, of which some are missing."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


# Samples on either side that an interpolated one is made of, and the shape of their
# window (Kaiser): for signals below .42 cycles a step it is exact to about 1e-4.
REACH = 16
SHAPE = 8.0


class Sampling(NamedTuple):
    """How samples are taken.

    - `drop`: the share of samples that are missing, each by a chance of its own, in [0, 1).
    - `jitter`: how irregular times are: sample k is taken at `k + jitter * u_k` steps, with
        `u_k` uniform over [-1/2, 1/2); in [0, 1), so that times always increase.
    """

    drop: float = 0.0
    jitter: float = 0.0

    @property
    def name(self) -> str:
        return f"drop {self.drop:g}, jitter {self.jitter:g}"


def check_sampling(drop: float | None, jitter: float | None) -> None:
    """**Raises:** `ValueError` for shares outside [0, 1); `None` is none."""
    for flag, value in (("--drop", drop), ("--jitter", jitter)):
        if value is not None and not 0 <= value < 1:
            raise ValueError(
                f"`{flag}` needs a share of at least 0 and below 1, as 0.5; got {value}."
            )


def at(
    signals: Float[np.ndarray, "m d"], times: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "k d"]:
    """Returns band-limited signals at times between their samples: sinc interpolation in
    a Kaiser window (Shannon 1949; Kaiser 1974). At a sample it is that sample.

    - `times`: in steps, from `REACH` to `len(signals) - 1 - REACH`.
    """
    nearest = np.round(times).astype(int)
    offset = times - nearest
    taps = np.arange(-REACH, REACH + 1)
    away = offset[:, None] - taps
    # As sin(pi (x - n)) = (-1)^n sin(pi x), it is nothing at whole steps, exactly.
    waves = (1 - 2 * (taps % 2)) * np.sin(np.pi * offset)[:, None]
    here = away == 0
    sinc = np.where(here, 1.0, waves / (np.pi * np.where(here, 1.0, away)))
    window = np.i0(
        SHAPE * np.sqrt(np.maximum(0, 1 - (away / (REACH + 1)) ** 2))
    ) / np.i0(SHAPE)
    return np.einsum("kn,knd->kd", sinc * window, signals[nearest[:, None] + taps])


def windows(
    signals: Float[np.ndarray, "m d"],
    sampling: Sampling,
    random: np.random.Generator,
    *,
    length: int,
    stride: int,
    complete: bool,
) -> Float[np.ndarray, "n t c"]:
    """Returns windows, `(windows, length, d + 2)`: the signals as they are seen, NaN where
    a sample is missing; then what is wanted, the first signal; then the time, in steps
    from the first one's place. Gaps and times belong to the signals: where windows overlap
    they are the same.

    A larger `drop` leaves out what a smaller one does, and more, and the times of a larger
    `jitter` are off by as much more.

    - `complete`: whether what is wanted is there for missing samples too, as in a test;
        in training nobody knows it.
    """
    shifts, chances = (
        random.uniform(-0.5, 0.5, len(signals)),
        random.random(len(signals)),
    )
    steps = np.arange(REACH, len(signals) - REACH)
    times = steps + sampling.jitter * shifts[steps]
    taken = at(signals, times)
    missing = (chances[steps] < sampling.drop)[:, None]
    seen = np.where(missing, np.nan, taken)
    wanted = (taken if complete else seen)[:, :1]
    rows = np.concatenate([seen, wanted, times[:, None]], axis=1)
    starts = range(0, len(rows) - length + 1, stride)
    cut = np.stack([rows[i : i + length] for i in starts])
    cut[:, :, -1] -= steps[starts][:, None]
    return cut
