"""model, windows -> loss: training by free runs that grow longer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

import warp_jax as wj

from ._data import Split
from ._tasks import Forecast


class ForcedWindows(NamedTuple):
    """- `xs`: sequences, of shape `(examples, time, input)`.
    - `forced`: after which steps a model is fed the truth, `(time - 1,)`, as for
        `warp_jax.unroll`.
    """

    xs: Float[Array, "n t d"]
    forced: Bool[Array, " s"]


class FreeRun(Forecast):
    """The same forecasts, with training by free runs as well: after the context a model is
    fed its own predictions, and the truth once a horizon has passed (multiple shooting;
    Ribeiro et al. 2020, arXiv 1905.00820). Horizons grow, lest the errors of a model that
    knows nothing yet pile up.

    - `horizons`: steps of a free run, the shortest first; each for an equal part of the
        training.
    - `chosen_by`: the metric by which validation chooses.
    - `scale`: as for a forecast. Where it is shorter than the prediction, only the channels
        that it has are scored; those after them repeat what was predicted before.
    """

    horizons: tuple[int, ...] = eqx.field(static=True, default=(1, 4, 16))
    chosen_by: str = eqx.field(static=True, default="forecast_mse")

    def batches(self, split: Split, size: int, steps: int, key: Any):
        batches = wj.Batches(split, size, key=key)
        length = split.xs.shape[1]

        def windows(step: int) -> ForcedWindows:
            stage = min(step * len(self.horizons) // steps, len(self.horizons) - 1)
            forced = self.forced(length, self.horizons[stage])
            return ForcedWindows(batches(step).xs, forced)

        return windows

    def forced(self, length: int, horizon: int) -> Bool[Array, " s"]:
        """Returns which of the observations after the first are given, `(length - 1,)`:
        those of the context, and the last one of every `horizon` after it.
        """
        after = jnp.arange(1, length) - self.context
        return (after < 0) | (after % horizon == horizon - 1)

    def loss(self, model, batch, key):
        ts = self._times(batch.xs[0])

        def free(xs):
            return wj.unroll(model, xs, ts, batch.forced, known=self.known)

        predicted = self._scored(jax.vmap(free)(batch.xs))
        target = self._target(batch.xs)
        return wj.mse(predicted[:, self.context - 1 :], target[:, self.context - 1 :])

    def validate(self, split: Split) -> Callable[[wj.AbstractModel], float]:
        return lambda model: self.evaluate(model, split)[self.chosen_by]

    def predict(self, model, xs, *arrays):
        return self._scored(super().predict(model, xs, *arrays))

    def _target(self, xs):
        return self._scored(super()._target(xs))

    def _scored(self, outputs):
        return outputs if self.scale is None else outputs[..., : len(self.scale)]


class Simulation(FreeRun):
    """Free runs of a driven system, scored as its benchmarks do."""

    def evaluate(self, model, split: Split) -> dict[str, float]:
        metrics = super().evaluate(model, split)
        return metrics | {"forecast_rmse": metrics["forecast_mse"] ** 0.5}
