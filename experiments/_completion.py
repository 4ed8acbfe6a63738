"""What is asked of a model that completes pictures: what follows, with uncertainty."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import warp_jax as wj

from ._data import Split
from ._mapped import batched, each, mapped
from ._tasks import read_ahead, unrolled


class Levels(NamedTuple):
    """The values that a pixel can have: so many `bins`, evenly from `low` to `high`."""

    bins: int
    low: float
    high: float


GREY = Levels(17, 0.0, 1.0)


class Completion(eqx.Module):
    """What follows a context, with uncertainty, each step read directly off one state.

    - `context`: steps that are given.
    - `levels`: of a value; by default those of the digits of scikit-learn.
    """

    context: int = eqx.field(static=True)
    levels: Levels = eqx.field(static=True, default=GREY)

    def predict(self, model, xs) -> wj.Gaussian:
        return self.direct(model, xs)

    def direct(self, model, xs, key=None) -> wj.Gaussian:
        ts = jnp.linspace(0, 1, len(xs), dtype=xs.dtype)
        given, ahead = ts[: self.context], ts[self.context :]
        return read_ahead(model, xs[: self.context], given, ahead, key)

    def loss(self, model, batch, key):
        predicted = each(self.direct, model, key, batch.xs)
        return wj.gaussian_nll(predicted, batch.xs[:, self.context :])

    def evaluate(self, model, split: Split) -> dict[str, float]:
        predicted = mapped(self.predict, model, split.xs)
        return completion_metrics(predicted, split.xs[:, self.context :], self.levels)

    def test(self, split: Split) -> Callable[[wj.AbstractModel], dict[str, float]]:
        return lambda model: self.evaluate(model, split)

    def validate(self, split: Split) -> Callable[[wj.AbstractModel], float]:
        return lambda model: self.evaluate(model, split)["forecast_nll"]


class AutoregressiveCompletion(Completion):
    """What follows a context, step by step, each prediction fed back as an observation."""

    forcing: float = eqx.field(static=True, default=0.25)

    def predict(self, model, xs) -> wj.Gaussian:
        return wj.forecast(model, xs[: self.context], len(xs) - self.context)

    def loss(self, model, batch, key):
        predicted = unrolled(model, batch.xs, self.forcing, key)
        return wj.gaussian_nll(predicted, batch.xs[:, 1:])


def with_deviation(
    means: np.ndarray, errors: np.ndarray, shape: tuple[int, ...]
) -> wj.Gaussian:
    """Returns completions of a shape that no training by gradient made: `means`, with the
    root mean square of their errors over training pictures, and a little more.
    """
    deviations = np.sqrt(np.mean(errors**2, axis=0)) + 1e-2
    both = (jnp.asarray(array, jnp.float32) for array in (means, deviations))
    return wj.Gaussian(*(jnp.broadcast_to(array, shape) for array in both))


def completion_metrics(
    predicted: wj.Gaussian, truth: np.ndarray, levels: Levels = GREY
) -> dict[str, float]:
    """Returns the metrics of a forecast with uncertainty of values of these levels: the
    `forecast_mse` is of values scaled to [0, 1]; `coverage_95` is the share of values in
    the central 95 %.
    """

    @jax.jit
    @jax.vmap
    def each_mean(mean, std, target):
        gaussian = wj.Gaussian(mean, std)
        inside = jnp.abs(target - mean) <= 1.96 * std
        bits = wj.bits_per_dim(gaussian, target, *levels)
        nll = wj.gaussian_nll(gaussian, target)
        return wj.mse(mean, target), nll, bits, jnp.mean(inside)

    arrays = (np.asarray(a) for a in (predicted.mean, predicted.std, truth))
    means = batched(each_mean, *arrays)
    mse, nll, bits, inside = (float(np.mean(a, dtype=np.float64)) for a in means)
    return {
        "forecast_mse": mse / (levels.high - levels.low) ** 2,
        "forecast_nll": nll,
        "bits_per_dim": bits,
        "coverage_95": inside,
    }
