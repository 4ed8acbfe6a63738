"""xs -> y, from read-outs along the sequence."""

import abc

import equinox as eqx
import jax.lax as lax
import jax.nn as jnn
import jax.numpy as jnp

from .._abstract_model import AbstractModel, check_model
from .._check import check_integer
from .._types import Gaussian, Key, Mask, Observations, Output, ScalarLike, Times
from .base import AbstractReadout, check_sequence, mean


class AbstractPooled(AbstractReadout):
    """Some read-outs of a sequence, made one in place of the last one alone.

    The read-outs lie evenly among the valid steps, and the last one is among them; no
    other state is read. What they make together is less at the mercy of where a sequence
    happens to end.
    """

    model: eqx.AbstractVar[AbstractModel]
    reads: eqx.AbstractVar[int]

    @abc.abstractmethod
    def combine(self, outputs: Output) -> Output:
        """Returns one output for several, which have a leading axis of `reads`."""

    def last(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        key: Key | None = None,
    ) -> Output:
        """Returns the pooled read-out of a sequence.

        **Arguments:** those of the model's `last`, but for

        - `query`: when to read all states, a scalar; by default each at its own time.

        **Returns:** an array of shape `(out,)`, or a distribution over one.

        **Raises:** as a call of the model; also for one that cannot continue from a state.
        """
        xs, ts, mask = check_sequence("pooled(xs, ts, query, mask)", xs, ts, mask)
        length = len(xs)
        order, valid = jnp.arange(length), jnp.asarray(length)
        if mask is not None:
            order, valid = jnp.argsort(~mask, stable=True), jnp.sum(mask)
            # No gradient may meet a NaN of padding: the last valid step stands in for it.
            order = order[jnp.minimum(jnp.arange(length), valid - 1)]
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

        return self.combine(lax.scan(advance, state, (starts, stops))[1])


class Pooled(AbstractPooled):
    """The mean of read-outs that lie evenly among the valid steps, the last one among
    them; of Gaussians, the one with the mean and the variance of their mixture.
    """

    model: AbstractModel
    reads: int = eqx.field(static=True)

    def __init__(self, model: AbstractModel, reads: int = 16):
        """**Arguments:**

        - `model`: what is read, as a `WARP`.
        - `reads`: how many read-outs the mean is of, at least 1; by default 16. A sequence
            with fewer valid steps has some of them counted twice.

        **Raises:** `TypeError` for what is no model, or `reads` that are no whole number;
        `ValueError` for fewer than 1.
        """
        call = "Pooled(model, reads)"
        self.model = check_model(call, model)
        self.reads = check_integer(call, "reads", reads, 1)

    def combine(self, outputs: Output) -> Output:
        """Returns the mean, or the Gaussian of the mixture's mean and variance."""
        return mean(outputs)


class AttentionPooled(AbstractPooled):
    r"""The mean of read-outs in which each says itself how much it counts (attention with
    one query, Bahdanau et al. 2015, arXiv 1409.0473).

    The last number of a model's output is a score $s_i$, and the read-outs are weighted by
    $\operatorname{softmax}(s)$; so the weighting is learnt by the model and read off the
    state as its outputs are. With equal scores this is `Pooled`.
    """

    model: AbstractModel
    reads: int = eqx.field(static=True)

    def __init__(self, model: AbstractModel, reads: int = 16):
        """**Arguments:**

        - `model`: what is read, with one more output than are wanted.
        - `reads`: how many read-outs are weighed, at least 1; by default 16.

        **Raises:** `TypeError` for what is no model, or `reads` that are no whole number;
        `ValueError` for fewer than 1.
        """
        call = "AttentionPooled(model, reads)"
        self.model = check_model(call, model)
        self.reads = check_integer(call, "reads", reads, 1)

    def combine(self, outputs: Output) -> Output:
        """Returns the weighted mean, of shape `(out - 1,)`.

        **Raises:** `TypeError` for distributions, `ValueError` for a single output.
        """
        call = "AttentionPooled(model, reads)"
        if isinstance(outputs, Gaussian):
            raise TypeError(
                f"`{call}` needs a model with arrays for outputs; got a Gaussian. Use "
                "`Pooled`."
            )
        if outputs.shape[1] < 2:
            raise ValueError(
                f"`{call}` needs a model with one more output than are wanted, the score; "
                f"got {outputs.shape[1]} in all."
            )
        return jnn.softmax(outputs[:, -1]) @ outputs[:, :-1]
