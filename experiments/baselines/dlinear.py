"""DLinear (Zeng et al. 2022, arXiv 2205.13504): what follows a window, linearly."""

from typing import Any

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float


class DLinear(eqx.Module):
    r"""$y = W_t m(x) + W_s (x - m(x)) + b$ with the moving average $m$ over `kernel` steps,
    the window's ends repeated beyond it; the same weights for all channels.
    """

    trend: eqx.nn.Linear
    season: eqx.nn.Linear
    kernel: int = eqx.field(static=True)

    def __init__(self, context: int, horizon: int, *, kernel: int = 25, key: Any):
        """**Arguments:**

        - `context`, `horizon`: steps of a window, and of what follows it.
        - `kernel`: steps of the moving average, odd.

        **Raises:** `ValueError` where `kernel` is even or below 1.
        """
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                "`DLinear(context, horizon, kernel)` needs an odd kernel of at least 1; "
                f"got kernel={kernel}."
            )
        trend_key, season_key = jr.split(key)
        self.trend = eqx.nn.Linear(context, horizon, key=trend_key)
        self.season = eqx.nn.Linear(context, horizon, use_bias=False, key=season_key)
        self.kernel = kernel

    @property
    def state_size(self) -> int:
        """A function of a window carries nothing."""
        return 0

    def __call__(self, window: Float[Array, "context d"]) -> Float[Array, "horizon d"]:
        """Returns the forecast of the steps after a window."""
        side = self.kernel // 2
        padded = jnp.pad(window, ((side, side), (0, 0)), mode="edge")
        total = lax.reduce_window(
            padded, 0.0, lax.add, (self.kernel, 1), (1, 1), "VALID"
        )
        average = total / self.kernel
        across = eqx.filter_vmap(
            lambda trend, season: self.trend(trend) + self.season(season),
            in_axes=1,
            out_axes=1,
        )
        return across(average, window - average)
