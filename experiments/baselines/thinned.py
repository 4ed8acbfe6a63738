"""A rival that leaves whole modes out: what `warp_jax.ModeDropout` is to WARP."""

from typing import Any

import equinox as eqx
import jax.random as jr

import warp_jax as wj

from .recurrent import Recurrent
from .stack import Stack


class Thinned(wj.AbstractModel):
    """A rival of stacked blocks, of whose cells whole modes are left out of a sequence,
    wherever a key is given: each with the chance `rate`, drawn once for a sequence and
    block. Those that stay count `1 / (1 - rate)` times.

    Without a key it is the model to the last bit. `init` and `step` leave nothing out.
    """

    model: Recurrent
    rate: float = eqx.field(static=True)

    def __init__(self, model: Recurrent, rate: float):
        """**Arguments:**

        - `model`: of a `Stack`.
        - `rate`: in [0, 1).
        """
        if not isinstance(model.cell, Stack):
            raise TypeError(
                f"`Thinned(model, rate)` needs a `Stack`; got {type(model.cell).__name__}."
            )
        if not 0 <= rate < 1:
            raise ValueError(
                f"`Thinned(model, rate)` needs 0 <= rate < 1; got {rate!r}."
            )
        self.model, self.rate = model, rate

    @property
    def state_size(self) -> int:
        """How many real numbers the model's cell carries."""
        return self.model.state_size

    def drawn(self, key: Any) -> Recurrent:
        """Returns the model that one sequence sees: modes that are left out have no way
        from the cell to its block.
        """
        if key is None:
            return self.model
        assert isinstance(self.model.cell, Stack)
        weights = []
        blocks = self.model.cell.blocks
        for block, own in zip(blocks, jr.split(key, len(blocks))):
            weight = block.C.weight
            mode_of = block.cell.mode_of()
            drawn = jr.bernoulli(own, 1 - self.rate, (mode_of.max() + 1,))
            keep = drawn[mode_of].astype(weight.dtype) / (1 - self.rate)
            weights.append(weight * keep[None])
        return eqx.tree_at(
            lambda model: [block.C.weight for block in model.cell.blocks],
            self.model,
            weights,
        )

    def __call__(
        self, xs, ts=None, queries=None, mask=None, *, state=None, key=None
    ) -> Any:
        return self.drawn(key)(xs, ts, queries, mask, state=state)

    def final(self, xs, ts=None, *, mask=None, state=None, key=None) -> wj.State:
        return self.drawn(key).final(xs, ts, mask=mask, state=state)

    def compact(self, xs, ts=None, *, mask=None, state=None, key=None):
        return self.drawn(key).compact(xs, ts, mask=mask, state=state)

    def init(self, x, t=0.0, *, key=None) -> wj.State:
        return self.model.init(x, t)

    def step(self, state, x, t) -> wj.State:
        return self.model.step(state, x, t)

    def read(self, state, time) -> Any:
        return self.model.read(state, time)
