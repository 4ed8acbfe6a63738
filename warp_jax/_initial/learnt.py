"""theta_0, learnt directly."""

import equinox as eqx

from .._check import check_array
from .._types import Key, Observation, Weights
from .base import AbstractInitial


class LearntInitial(AbstractInitial):
    """One initial state for all sequences, trained like any other parameter (arXiv
    2506.01153).
    """

    theta: Weights
    state_size: int = eqx.field(static=True)

    def __init__(self, theta: Weights):
        """**Arguments:**

        - `theta`: where training starts, of shape `(state,)`; usually a fresh network's
            weights, `decoder.flatten(network)`.

        **Raises:** `ValueError` for another number of axes or no weights, `TypeError` for
        what is no real floating-point array.
        """
        self.theta = check_array("LearntInitial(theta)", "theta", theta, 1)
        self.state_size = self.theta.shape[0]
        if not self.state_size:
            raise ValueError("`LearntInitial(theta)` needs weights; got shape (0,).")

    @property
    def shared(self) -> bool:
        return True

    def __call__(self, x: Observation, *, key: Key | None = None) -> Weights:
        return self.theta
