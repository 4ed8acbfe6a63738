"""model, batch -> loss or metrics: what is asked of a model, whichever it is."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import warp_jax as wj

from ._data import Dataset, Split
from ._mapped import each, mapped


class Classification(eqx.Module):
    """The class of a sequence, read once after its last valid step.

    Validation is by NLL; or `by_accuracy`, and by NLL where that ties. Of a small set
    confident models have a large NLL, however few their errors are.
    """

    by_accuracy: bool = eqx.field(static=True, default=False)

    def logits(self, model, xs, mask=None, key=None):
        return model.last(xs, query=1.0, mask=mask, key=key)

    def loss(self, model, batch, key):
        logits = each(self.logits, model, key, batch.xs, batch.mask)
        return jnp.mean(jax.vmap(wj.cross_entropy)(logits, batch.labels))

    def evaluate(self, model, split: Split) -> dict[str, float]:
        logits = mapped(self.logits, model, split.xs, split.mask)
        labels = jnp.asarray(split.labels)
        nll = jax.vmap(wj.cross_entropy)(jnp.asarray(logits), labels)
        correct = np.argmax(logits, -1) == split.labels
        return {"accuracy": float(np.mean(correct)), "nll": float(jnp.mean(nll))}

    def test(self, split: Split) -> Callable[[wj.AbstractModel], dict[str, float]]:
        return lambda model: {
            f"test_{name}": figure
            for name, figure in self.evaluate(model, split).items()
        }

    def validate(self, split: Split) -> Callable[[wj.AbstractModel], float]:
        def figure(model: wj.AbstractModel) -> float:
            metrics = self.evaluate(model, split)
            nll = metrics["nll"]
            if not self.by_accuracy:
                return nll
            # The second term is less than one error.
            tie = nll / (1 + nll) / len(split.labels)
            return 1 - metrics["accuracy"] + tie

        return figure


class PooledClassification(Classification):
    """The class of a sequence, as the mean of logits read along it."""

    reads: int = eqx.field(static=True, default=16)

    def logits(self, model, xs, mask=None, key=None):
        return wj.Pooled(model, self.reads)(xs, mask=mask, key=key)


class Reconstruction(eqx.Module):
    """What follows a context, step by step, by squared error (the paper's SINE and MSD)."""

    context: int = eqx.field(static=True)
    forcing: float = eqx.field(static=True, default=0.25)

    def predict(self, model, xs):
        forced = jnp.arange(1, len(xs)) < self.context
        return wj.unroll(model, xs, forcing=forced)

    def loss(self, model, batch, key):
        predicted = unrolled(model, batch.xs, self.forcing, key)
        return wj.mse(predicted, batch.xs[:, 1:])

    def evaluate(self, model, split: Split) -> dict[str, float]:
        predicted = mapped(self.predict, model, split.xs)
        errors = (predicted - split.xs[:, 1:]) ** 2
        return {
            "forecast_mse": float(np.mean(errors[:, self.context - 1 :])),
            "paper_mse": float(np.mean(errors) / 2),
        }

    def test(self, split: Split) -> Callable[[wj.AbstractModel], dict[str, float]]:
        return lambda model: self.evaluate(model, split)

    def validate(self, split: Split) -> Callable[[wj.AbstractModel], float]:
        return lambda model: self.evaluate(model, split)["forecast_mse"]


class AbstractForecast(eqx.Module):
    """What is asked of forecasts of a system, in and out of the range of the training."""

    @abc.abstractmethod
    def loss(self, model: Any, batch: Any, key: Any) -> Any:
        """Returns the training loss, as for `warp_jax.fit`."""

    @abc.abstractmethod
    def predict(self, model: Any, xs: Any, *arrays: Any) -> Any:
        """Returns predictions of `xs[1:]`, `(time - 1, out)`."""

    @abc.abstractmethod
    def evaluate(self, model, split: Split) -> dict[str, float]:
        """Returns the metrics, `forecast_mse` among them."""

    def batches(
        self, split: Split, size: int, steps: int, key: Any
    ) -> Callable[[int], Any]:
        """Returns what gives the batch of each of the `steps` of a training."""
        return wj.Batches(split, size, key=key)

    def test(self, data: Dataset) -> Callable[[Any], dict[str, float]]:
        """Returns what gives the metrics of the test set, and those of the one in range
        under names of their own.
        """

        def metrics(model: Any) -> dict[str, float]:
            found = self.evaluate(model, data.test)
            if data.in_range is not None:
                inside = self.evaluate(model, data.in_range)
                found |= {f"in_range_{name}": value for name, value in inside.items()}
            return found

        return metrics

    def validate(self, split: Split) -> Callable[[wj.AbstractModel], float]:
        return lambda model: self.evaluate(model, split)["forecast_mse"]


class Forecast(AbstractForecast):
    """What follows a context, step by step, by squared error. The forecast that is scored
    is made from the context alone.

    Training is by the next step alone, from true observations and in parallel over time;
    validation and test are free runs.

    - `context`: how many steps are given.
    - `scale`: what a difference of one means in each predicted channel, in the units of the
        metrics; by default one.
    - `known`: how many channels, the last ones, are inputs whose future is known.
    - `step`: time between observations; by default times are evenly over [0, 1].
    """

    context: int = eqx.field(static=True)
    scale: tuple[float, ...] | None = eqx.field(static=True, default=None)
    known: int = eqx.field(static=True, default=0)
    step: float | None = eqx.field(static=True, default=None)

    def predict(self, model, xs, *arrays):
        """Returns predictions of `xs[1:]`: of the next step while the context lasts, and of
        a free run after it.
        """
        ts, given = self._times(xs), xs[: self.context]
        future = xs[self.context :, xs.shape[1] - self.known :]
        ahead = wj.point(wj.forecast(model, given, len(future), ts, known=future))
        if self.context == 1:
            return ahead
        queries = ts[1 : self.context]
        within = wj.point(model(given[:-1], ts[: self.context - 1], queries))
        return jnp.concatenate([within, ahead])

    def loss(self, model, batch, key):
        ts = self._times(batch.xs[0])

        def ahead(model, xs, key):
            return model(xs[:-1], ts[:-1], ts[1:], key=key)

        return wj.mse(each(ahead, model, key, batch.xs), self._target(batch.xs))

    def predictions(self, model, xs) -> Float[np.ndarray, "n s y"]:
        """Returns the predictions of every `xs[1:]`."""
        return mapped(self.predict, model, xs)

    def squared(self, predicted, split: Split) -> Float[np.ndarray, "n s y"]:
        """Returns the squared errors of predictions of every `xs[1:]`."""
        errors = predicted - self._target(split.xs)
        return np.square(errors * (1.0 if self.scale is None else self.scale))

    def evaluate(self, model, split: Split) -> dict[str, float]:
        return self.metrics(self.squared(self.predictions(model, split.xs), split))

    def metrics(self, errors: Float[np.ndarray, "n s y"]) -> dict[str, float]:
        """Returns the metrics of what `squared` gives."""
        return _of_trajectories(np.mean(errors[:, self.context - 1 :], (1, 2)), errors)

    def _times(self, xs):
        if self.step is None:
            return jnp.linspace(0, 1, len(xs), dtype=xs.dtype)
        return self.step * jnp.arange(len(xs), dtype=xs.dtype)

    def _target(self, xs):
        return xs[:, 1:, : xs.shape[-1] - self.known]


class Unrolled(Forecast):
    """The same forecasts, by a model that is fed its own predictions in training too.

    - `forcing`: the chance that a step is fed the true observation instead; 1 is the
        training of `Forecast`.
    - `objective`: the training loss; metrics are of a distribution's mean.
    """

    forcing: float = eqx.field(static=True, default=0.25)
    objective: Callable = eqx.field(static=True, default=wj.mse)

    def loss(self, model, batch, key):
        predicted = unrolled(model, batch.xs, self.forcing, key)
        return self.objective(predicted, self._target(batch.xs))


class Jumps(Forecast):
    """The same forecasts, by a model that knows a law and so reads any time at once: the
    whole window is reconstructed with the parameters of the state after the context.

    The law carries the latest observation ahead, and the first one through the context:
    backwards a damped motion would grow, and so would every error. So `paper_mse` is that
    of a reconstruction from the context. Nothing is fed back.

    Training is by jumps from every step to a later one, a random number of steps away. An
    error counts relative to the observation jumped from, or what has died down would not.

    - `longest`: steps of the longest jump; `settled`: first steps that do not count, for
        little is seen until then; `least`: mean square at which an observation is small.
    """

    longest: int = eqx.field(static=True, default=24)
    settled: int = eqx.field(static=True, default=4)
    least: float = eqx.field(static=True, default=0.03)

    def predict(self, model, xs, *arrays):
        ts, count = self._times(xs), self.context
        last = model.final(xs[:count], ts[:count])
        first = eqx.tree_at(lambda s: (s.x, s.t), last, (xs[0], ts[0]))
        read = jax.vmap(model.read, (None, 0))
        return jnp.concatenate([read(first, ts[1:count]), read(last, ts[count:])])

    def loss(self, model, batch, key):
        ts = self._times(batch.xs[0])
        steps = jnp.arange(len(ts))

        def jump(xs, key):
            away = jax.random.randint(key, steps.shape, 1, self.longest + 1)
            to = jnp.minimum(steps + away, steps[-1])
            errors = jnp.mean((model(xs, ts, ts[to]) - xs[to]) ** 2, axis=1)
            size = jnp.mean(xs**2, axis=1)
            return jnp.mean((errors / (size + self.least))[self.settled :])

        keys = jax.random.split(key, len(batch.xs))
        return jnp.mean(jax.vmap(jump)(batch.xs, keys))


class RepeatCopy(AbstractForecast):
    """What follows a piece that is then repeated. Models are fed the piece and then zeros,
    and none of their own predictions; the length of the piece, `context`, is the data's.
    """

    def predict(self, model, xs, *arrays):
        """Returns predictions of `xs[1:]` from the first steps, as many as the array given
        says.
        """
        (context,) = arrays
        ts = jnp.linspace(0, 1, len(xs), dtype=xs.dtype)
        fed = jnp.where((jnp.arange(len(xs)) < context)[:, None], xs, 0)
        return model(fed[:-1], ts[:-1], ts[1:])

    def loss(self, model, batch, key):
        predict = jax.vmap(self.predict, (None, 0, 0))
        return wj.mse(predict(model, batch.xs, batch.context), batch.xs[:, 1:])

    def evaluate(self, model, split: Split) -> dict[str, float]:
        predicted = mapped(self.predict, model, split.xs, split.context)
        errors = np.mean((predicted - split.xs[:, 1:]) ** 2, axis=-1)
        assert split.context is not None
        ahead = np.arange(1, 1 + errors.shape[1]) >= split.context[:, None]
        by_trajectory = np.sum(errors * ahead, axis=1) / np.sum(ahead, axis=1)
        return _of_trajectories(by_trajectory, errors)


def _of_trajectories(forecast, errors) -> dict[str, float]:
    """Returns the metrics of each trajectory's mean squared error in what is forecast, and
    of all squared errors, those of the context too.
    """
    return {
        "forecast_mse": float(np.mean(forecast)),
        "forecast_mse_median": float(np.median(forecast)),
        "paper_mse": float(np.mean(errors) / 2),
    }


def read_ahead(model, xs, ts, times, key=None):
    """Returns what is read at each of `times` off the one state after the steps `xs`."""
    state = model.final(xs, ts, key=key)
    return jax.vmap(model.read, (None, 0))(state, times)


def unrolled(model, xs, forcing: float, key):
    """Returns predictions of `xs[:, 1:]`, fed with the truth with chance `forcing`."""

    def unroll(model, xs, key):
        return wj.unroll(model, xs, forcing=forcing, key=key)

    return each(unroll, model, key, xs)
