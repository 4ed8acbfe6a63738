"""xs -> y, read from both ends."""

import jax
import jax.numpy as jnp
import jax.random as jr

from .._abstract_model import AbstractModel
from .._types import Key, Mask, Observations, Output, ScalarLike, Times
from .base import AbstractReadout, check_sequence, mean


class Bidirectional(AbstractReadout):
    """The mean of what one model says of a sequence and another of the same reversed
    (Schuster and Paliwal 1997), for tasks that have the sequence whole, as classification.

    It **sees the future**, so it cannot stream: it has no `step`, and `forecast` and
    `unroll` raise `TypeError`.
    """

    forward: AbstractModel | AbstractReadout
    backward: AbstractModel | AbstractReadout

    def __init__(
        self,
        forward: AbstractModel | AbstractReadout,
        backward: AbstractModel | AbstractReadout,
    ):
        """**Arguments:**

        - `forward`: reads the sequence as it is, as a `WARP` or a `Pooled`.
        - `backward`: reads it from its end, with outputs of the same shape. Time runs
            forwards for it too, between the same first and last time.

        **Raises:** `TypeError` for what is neither a model nor a read-out.
        """
        for model in (forward, backward):
            if not isinstance(model, (AbstractModel, AbstractReadout)):
                raise TypeError(
                    "`Bidirectional(forward, backward)` needs models or read-outs, as a "
                    f"`WARP` or a `Pooled`; got {type(model).__name__}."
                )
        self.forward, self.backward = forward, backward

    def last(
        self,
        xs: Observations,
        ts: Times | None = None,
        query: ScalarLike | None = None,
        mask: Mask | None = None,
        *,
        key: Key | None = None,
    ) -> Output:
        """Returns the mean output of both directions.

        **Arguments:** those of a model's `last`, but for

        - `query`: when to read, a scalar, in the time of each direction; by default after
            its own last step.

        **Returns:** an array of shape `(out,)`; of Gaussians, the one with the mean and
        the variance of their mixture.
        """
        call = "bidirectional(xs, ts, query, mask)"
        xs, ts, mask = check_sequence(call, xs, ts, mask)
        first, last = ts[0], ts[-1]
        if mask is not None:
            first = ts[jnp.argmax(mask)]
            last = ts[len(ts) - 1 - jnp.argmax(mask[::-1])]
        there = back = None
        if key is not None:
            there, back = jr.split(key)
        turned = None if mask is None else mask[::-1]
        outputs = (
            self.forward.last(xs, ts, query, mask, key=there),
            self.backward.last(
                xs[::-1], (first + last) - ts[::-1], query, turned, key=back
            ),
        )
        return mean(jax.tree.map(lambda *both: jnp.stack(both), *outputs))
