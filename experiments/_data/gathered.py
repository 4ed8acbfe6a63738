"""examples -> batches, each made when it is asked for."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Integer

import warp_jax as wj

from .dataset import Split


class Gathered:
    """The batches of `warp_jax.Batches`, in its order, of examples that memory need not
    hold as they are used: windows are cut, and pixels become numbers, for one batch at a
    time.
    """

    def __init__(
        self,
        make: Callable[[Integer[np.ndarray, " n"]], Split],
        examples: int,
        size: int,
        *,
        key,
    ):
        """**Arguments:**

        - `make`: gives the examples of these indices: `data.train.take` of windows, or what
            converts as well.
        - `examples`: how many there are.
        - `size`, `key`: as of `warp_jax.Batches`.

        **Raises:** `ValueError` for fewer examples than a batch.
        """
        self._make = make
        self._order = wj.Batches(np.arange(examples), size, key=key)

    @property
    def per_epoch(self) -> int:
        """How many batches there are before the data is shuffled again."""
        return self._order.per_epoch

    def __call__(self, step: int) -> Split:
        """Returns batch number `step`, counted from 0."""
        return self._make(np.asarray(self._order(step)))
