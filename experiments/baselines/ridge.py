"""Ridge regression of what follows a window on the window: a forecast in closed form."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


PENALTIES = tuple(10.0**power for power in range(-2, 5))


class WindowRidge:
    r"""$y_{t+k} = x_t + w_k \cdot (x_{t-n+1, \ldots, t} - x_t) + b_k$, with the same
    weights for all channels and others for each step $k$ ahead.

    Relative to the window's last value a level that drifts does not matter.
    """

    def __init__(
        self,
        weights: Float[np.ndarray, "context horizon"],
        bias: Float[np.ndarray, " horizon"],
        penalty: float,
    ):
        self.weights, self.bias, self.penalty = weights, bias, penalty

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return self.weights.size + self.bias.size

    def __call__(
        self, windows: Float[np.ndarray, "n context d"]
    ) -> Float[np.ndarray, "n horizon d"]:
        """Returns forecasts of the steps after each window."""
        last = windows[:, -1:]
        change = np.einsum("ncd,ch->nhd", windows - last, self.weights)
        return last + change + self.bias[:, None]


def fit_ridge(
    windows: Float[np.ndarray, "n context d"],
    targets: Float[np.ndarray, "n horizon d"],
    validation: tuple[
        Float[np.ndarray, "m context d"], Float[np.ndarray, "m horizon d"]
    ],
    penalties: Sequence[float] = PENALTIES,
) -> WindowRidge:
    """Returns the regression with the penalty of the least squared error on validation
    data. The bias is not penalised; a penalty of one is as much as one window counts.

    **Raises:** `ValueError` where windows and targets do not fit.
    """
    if (
        windows.ndim != 3
        or targets.ndim != 3
        or (windows.shape[::2] != targets.shape[::2])
    ):
        raise ValueError(
            "`fit_ridge(windows, targets, ...)` needs arrays of shape (n, context, d) and "
            f"(n, horizon, d); got {windows.shape} and {targets.shape}."
        )
    last = windows[:, -1:]
    # A row for each window and channel.
    X, Y = (
        np.moveaxis(array - last, 1, 2).reshape(-1, array.shape[1]).astype(np.float64)
        for array in (windows, targets)
    )
    X_mean, Y_mean = X.mean(0), Y.mean(0)
    X, Y = X - X_mean, Y - Y_mean
    values, vectors = np.linalg.eigh(X.T @ X)
    projected = vectors.T @ (X.T @ Y)

    def solution(penalty: float) -> WindowRidge:
        weights = vectors @ (projected / (np.maximum(values, 0) + penalty)[:, None])
        return WindowRidge(weights, Y_mean - X_mean @ weights, penalty)

    def error(model: WindowRidge) -> float:
        return float(np.mean((model(validation[0]) - validation[1]) ** 2))

    return min(map(solution, penalties), key=error)
