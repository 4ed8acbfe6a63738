"""signals without gaps -> the best linear forecast of them from irregular samples."""

import numpy as np
from jaxtyping import Float

from ._data import Split
from ._data.irregular import at, REACH


# Noise on what is seen, as a share of its variance; validation data chooses.
NOISES = 1e-2, 1e-1
# Places between two lags at which covariances are tabulated; in between they are linear.
FINE = 32


class BestLinear:
    """The linear forecast of least squared error (Wiener 1949) of the first signal, from
    whatever samples of all were seen at whatever times, by covariances that depend on the
    time between two samples alone.

    It is a reference: the covariances are those of a recording without gaps.
    """

    def __init__(self, xs: Float[np.ndarray, "n t d"], context: int):
        """**Arguments:**

        - `xs`: windows of the signals at regular times without gaps, of mean zero.
        - `context`: steps after which nothing is seen of the first signal.
        """
        length = xs.shape[1]
        spectra = np.fft.rfft(xs.astype(np.float64), 2 * length, axis=1)
        crossed = np.einsum("nfi,nfj->fij", spectra.conj(), spectra) / len(xs)
        sums = np.fft.irfft(crossed, 2 * length, axis=0)
        lags = np.arange(1 - length, length)
        unbiased = sums[lags] / (length - np.abs(lags))[:, None, None]
        # What is further apart is taken for uncorrelated.
        around = (REACH + 1, REACH + 1)
        padded = np.pad(unbiased, (around, (0, 0), (0, 0)))
        places = np.arange(REACH, len(padded) - 1 - REACH, 1 / FINE)
        self.table = at(padded.reshape(len(padded), -1), places)
        self.signals, self.context = xs.shape[2], context

    def between(self, ts: Float[np.ndarray, " t"]) -> Float[np.ndarray, "d t d t"]:
        """Returns the covariance of each signal at each time with each at each other."""
        places = FINE * (ts[None, :] - ts[:, None]) + len(self.table) // 2
        below = np.floor(places).astype(int)
        share = (places - below)[..., None]
        found = (1 - share) * self.table[below] + share * self.table[below + 1]
        shaped = found.reshape(len(ts), len(ts), self.signals, self.signals)
        return np.transpose(shaped, (2, 0, 3, 1))

    def __call__(self, split: Split, noise: float) -> Float[np.ndarray, "n h 1"]:
        """Returns the forecasts of all windows after the context.

        - `split`: windows as `experiments._data.irregular.windows` makes them.
        """
        return np.stack([self._forecast(window, noise) for window in split.xs])

    def _forecast(self, window: np.ndarray, noise: float) -> np.ndarray:
        seen = window[:, :-2].T.astype(np.float64)
        seen[0, self.context :] = np.nan
        between = self.between(window[:, -1].astype(np.float64))
        there = ~np.isnan(seen)
        known = between[there][:, there]
        known = known + noise * np.diag(np.diag(known))
        ahead = between[0, self.context :][:, there]
        return (ahead @ np.linalg.solve(known, seen[there]))[:, None]
