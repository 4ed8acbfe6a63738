"""The last values again and again: forecasts without parameters."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


# A longer season has to be better by this share than a shorter one.
TIE = 0.05


def repeat(
    season: int, horizon: int
) -> Callable[[Float[np.ndarray, "n c d"]], Float[np.ndarray, "n h d"]]:
    """Returns the forecast that a window's last `season` values come again, over and over
    for `horizon` steps: of one step that nothing changes, and else the seasonal naive one.
    """
    places = np.arange(horizon) % season - season
    return lambda windows: windows[:, places]


def find_season(rows: Float[np.ndarray, "t d"], longest: int, horizon: int) -> int:
    r"""Returns the number of steps from 1 to `longest` whose repetition forecasts `rows`
    with the least squared error over `horizon` steps, or the shortest that is within a
    twentieth of it; 1 says that there is no season.

    Of season m the error k steps ahead is $E (x_{t+L} - x_t)^2$ at lag $L = m \lceil k / m
    \rceil$, two variances less two autocovariances.
    """
    ahead = np.arange(1, horizon + 1)
    lags = [m * -(-ahead // m) for m in range(1, longest + 1)]
    last = min(max(map(np.max, lags)), len(rows) - 1)
    moved = [
        np.mean((rows[lag:] - rows[:-lag]) ** 2, dtype=np.float64)
        for lag in range(1, last + 1)
    ]
    errors = [np.mean(np.take(moved, of - 1, mode="clip")) for of in lags]
    return 1 + int(np.argmax(np.array(errors) <= (1 + TIE) * min(errors)))
