"""xs -> y, averaged over time."""

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp

from ._abstract_model import AbstractModel
from ._begin import default_times
from ._check import (
    check_array,
    check_integer,
    check_length,
    check_mask,
    check_some_valid,
)
from ._types import Gaussian, Key, Mask, Observations, Output, ScalarLike, Times


class Pooled(eqx.Module):
    """The mean of some read-outs of a sequence in place of the last one alone.

    The read-outs lie evenly among the valid steps, and the last one is among them; no
    other state is read. A mean is less at the mercy of where a sequence happens to end.
    """

    model: AbstractModel
    reads: int = eqx.field(static=True)

    def __init__(self, model: AbstractModel, reads: int = 16):
        """**Arguments:**

        - `model`: what is read, as a `WARP`.
        - `reads`: how many read-outs the mean is of, at least 1. A sequence with fewer
            valid steps has some of them counted twice.
        """
        if not isinstance(model, AbstractModel):
            raise TypeError(
                f"`Pooled(model, reads)` needs a model, as a `WARP`; got "
                f"{type(model).__name__}."
            )
        self.model = model
        self.reads = check_integer("Pooled(model, reads)", "reads", reads, 1)

    def __call__(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        key: Key | None = None,
    ) -> Output:
        """Returns the mean read-out of a sequence. The same as `last`."""
        return self.last(xs, ts, query, mask, key=key)

    def last(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        key: Key | None = None,
    ) -> Output:
        """Returns the mean read-out of a sequence.

        **Arguments:** those of the model's `last`, but for

        - `query`: when to read all states, a scalar; by default each at its own time.

        **Returns:** an array of shape `(out,)`; of Gaussians, the one with the mean and
        the variance of their mixture.

        **Raises:** as a call of the model; also for one that cannot continue from a state.
        """
        call = "pooled(xs, ts, query, mask)"
        xs = check_array(call, "xs", xs, 2, "Use `jax.vmap` for a batch.")
        length = len(xs)
        if length == 0:
            raise ValueError(f"`{call}` needs at least one step; got shape {xs.shape}.")
        if ts is None:
            ts = default_times(length, xs.dtype)
        ts = check_array(call, "ts", ts, 1)
        check_length(call, "ts", ts, length, "the steps of `xs`")
        order, valid = jnp.arange(length), jnp.asarray(length)
        if mask is not None:
            mask = check_some_valid(call, check_mask(call, mask, length))
            order, valid = jnp.argsort(~mask, stable=True), jnp.sum(mask)
        xs, ts = xs[order], ts[order]
        model, state = self.model.compact(xs[:1], ts[:1], key=key)
        stops = (jnp.arange(1, self.reads + 1) * valid + self.reads - 1) // self.reads
        starts = jnp.concatenate([jnp.ones_like(stops[:1]), stops[:-1]])
        # No stretch between two read-outs is longer than this.
        stretch = jnp.arange(-(-length // self.reads))

        def advance(state, ends):
            start, stop = ends
            steps = jnp.minimum(start + stretch, length - 1)
            inside = start + stretch < stop
            state = model.final(xs[steps], ts[steps], mask=inside, state=state)
            return state, model.read(state, state.t if query is None else query)

        return _mean(lax.scan(advance, state, (starts, stops))[1])


def _mean(outputs: Output) -> Output:
    """Averages over the leading axis; of Gaussians, mean and variance of their mixture."""
    if isinstance(outputs, Gaussian):
        mean = jnp.mean(outputs.mean, axis=0)
        spread = outputs.std**2 + (outputs.mean - mean[None]) ** 2
        return Gaussian(mean, jnp.sqrt(jnp.mean(spread, axis=0)))
    return jnp.mean(outputs, axis=0)
