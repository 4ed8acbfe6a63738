"""A rival that is told what was seen of each observation, and when: `Gaps` for all."""

from typing import Any

import jax.numpy as jnp

import warp_jax as wj

from .recurrent import held, Recurrent


# Every channel's value last seen, which channels were seen, and the time since the step
# before: `2 input + 1` numbers.
TOLD = wj.Elapsed(wj.Gaps(wj.Values(), seen_channels=True))


class Told(Recurrent):
    """A `Recurrent` for observations with gaps, NaN in a channel that was not seen, at
    irregular times: its cell, of `2 input + 1` inputs, is given the values last seen, zero
    before any, which of them were seen, 1 or 0, and the time that passed.
    """

    def seen(self, xs):
        return TOLD.seen(xs)

    def init(self, x, t: Any = 0.0, *, key=None) -> wj.State:
        return self.step(self._before(x, jnp.asarray(t, x.dtype)), x, t)

    def step(self, state, x, t) -> wj.State:
        t = jnp.asarray(t, x.dtype)
        told, _ = TOLD.step(state, x, t)
        carry = self.cell(state.hidden, told)
        theta = self.cell.hidden(carry)
        return wj.State(theta, told[: len(x)], t, hidden=carry)

    def _before(self, x, t) -> wj.State:
        """Returns what is known before a first observation like `x` at the time `t`."""
        carry = self.cell.init()
        theta = self.cell.hidden(carry)
        return wj.State(theta, jnp.zeros_like(x), t, hidden=carry)

    def _roll(self, xs, ts, mask, state):
        mask = jnp.ones(len(xs), bool) if mask is None else mask
        before = self._before(xs[0], ts[jnp.argmax(mask)]) if state is None else state
        told, _ = TOLD(before, xs, ts, mask)
        hidden, carry = self.cell.roll(before.hidden, told, mask)
        known = told[:, : xs.shape[1]], ts
        x, t = held(known, (before.x, before.t), mask)
        return wj.State(hidden, x, t), carry
