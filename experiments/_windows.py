"""windows of a series -> one channel each, less what a linear forecast says of them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import warp_jax as wj

from ._data import Split
from ._mapped import each, mapped
from ._tasks import read_ahead
from .baselines import DLinear


# Windows before the horizon, `(n, context, d)` -> what follows, `(n, horizon, d)`.
Linear = Callable[[np.ndarray], np.ndarray]


def less(split: Split, context: int, forecast: Linear) -> Split:
    """Returns every channel of every window as a sequence of its own, `(n * d, context +
    horizon, 1)`: the context relative to its last value, and then what `forecast` is short
    of. So a model that is trained on it corrects that forecast, and its errors are those of
    the sum.

    One model serves all channels (Nie et al. 2022, arXiv 2211.14730).
    """
    window, future = split.xs[:, :context], split.xs[:, context:]
    parts = window - window[:, -1:], future - forecast(window).astype(future.dtype)
    rows = np.moveaxis(np.concatenate(parts, axis=1), 2, 1)
    rows = np.ascontiguousarray(rows).reshape(-1, rows.shape[2], 1)
    return Split(rows, np.zeros(len(rows), np.int32))


class DirectForecast(eqx.Module):
    """All that follows a context, read at once off the state at its end, by squared error.

    - `context`: steps that are given.
    - `scale`: what an error of one means in each channel, for metrics in the data's units.
    - `objective`: the training loss; metrics are of a distribution's mean.
    """

    context: int = eqx.field(static=True)
    scale: tuple[float, ...] = eqx.field(static=True, default=(1.0,))
    objective: Callable = eqx.field(static=True, default=wj.mse)

    def predict(
        self, model: Any, xs: Float[Array, "t 1"], key: Any = None
    ) -> Float[Array, "h 1"]:
        """Returns the forecasts of `xs[context:]`; no more is seen than what is before."""
        ts = jnp.linspace(0, 1, len(xs), dtype=xs.dtype)
        ahead = ts[self.context :]
        return read_ahead(model, self.given(xs), self.given(ts), ahead, key)

    def given(self, steps: Array) -> Array:
        """Returns of all steps those that a model is given."""
        return steps[: self.context]

    def loss(self, model: Any, batch: Any, key: Any) -> Float[Array, ""]:
        predicted = each(self.predict, model, key, batch.xs)
        return self.objective(predicted, batch.xs[:, self.context :])

    def metrics(self, errors: Float[np.ndarray, "n h 1"]) -> dict[str, float]:
        """Returns the metrics of errors in the order of `less`: all channels of a window,
        and then the next window's. Those in the data's units are there where all channels
        have one: a mean over degrees and watts would say nothing.
        """
        errors = errors[..., 0].reshape(-1, len(self.scale), errors.shape[1])
        mse = float(np.mean(errors**2, dtype=np.float64))
        mae = float(np.mean(np.abs(errors), dtype=np.float64))
        figures = {"test_mse": mse, "test_mae": mae}
        if len(set(self.scale)) == 1:
            (unit,) = set(self.scale)
            figures |= {
                "test_mae_units": unit * mae,
                "test_rmse_units": unit * mse**0.5,
            }
        return figures

    def errors(self, model: Any, split: Split) -> Float[np.ndarray, "n h 1"]:
        predicted = mapped(self.predict, model, split.xs)
        return wj.point(predicted) - split.xs[:, self.context :]

    def test(self, split: Split) -> Callable[[Any], dict[str, float]]:
        return lambda model: self.metrics(self.errors(model, split))

    def validate(self, split: Split) -> Callable[[Any], float]:
        return lambda model: float(np.mean(self.errors(model, split) ** 2))


def corrected(task: DirectForecast, forecast: Linear, model: Any) -> Linear:
    """Returns the forecast with what the model adds to it."""

    def sum_of(windows: np.ndarray) -> np.ndarray:
        future = forecast(windows).astype(windows.dtype)
        known = np.concatenate([windows, future], axis=1)
        split = Split(known, np.zeros(len(known), np.int32))
        added = task.errors(model, less(split, task.context, forecast))
        count, horizon, channels = future.shape
        return future + np.moveaxis(added.reshape(count, channels, horizon), 1, 2)

    return sum_of


class LeakingForecast(DirectForecast):
    """The same by a model that was given what it is asked for. It is no forecast: it is
    what the traffic data of the paper's released code comes to.
    """

    def given(self, steps: Array) -> Array:
        return steps


class LinearForecast(DirectForecast):
    """The same by a model that is a function of the window."""

    def predict(
        self, model: DLinear, xs: Float[Array, "t 1"], key: Any = None
    ) -> Float[Array, "h 1"]:
        return model(xs[: self.context])
