"""A rival that is driven as WARP is: by what a drive makes of its observations."""

from typing import Any

import jax.numpy as jnp

import warp_jax as wj

from .recurrent import Recurrent


class Driven(Recurrent):
    """A `Recurrent` whose cell is given what a drive makes of each observation and the one
    before it. The first observation is its own predecessor: its increment is zero.
    """

    drive: wj.AbstractPairwiseDrive

    def init(self, x, t: Any = 0.0, *, key=None) -> wj.State:
        t = jnp.asarray(t, x.dtype)
        return self.step(self._after(self.cell.init(), x, t), x, t)

    def step(self, state, x, t) -> wj.State:
        t = jnp.asarray(t, x.dtype)
        driven, _ = self.drive.step(state, x, t)
        return self._after(self.cell(state.hidden, driven), x, t)

    def _inputs(self, xs, ts, mask, state):
        if state is None:
            first = jnp.argmax(mask)
            state = self._after(self.cell.init(), xs[first], ts[first])
        return self.drive(state, xs, ts, mask)[0]
