"""theta_0, with noise in training."""

import equinox as eqx
import jax.random as jr

from .._check import check_positive
from .._types import Key, Observation, Weights
from .base import AbstractInitial


class NoisyInitial(AbstractInitial):
    """Adds Gaussian noise to another initial state wherever a key is given (arXiv
    2506.01153).

    A model hands the key of `model(xs, key=key)` on, so a training loss that gives one
    gets noise, and evaluation that gives none does not.
    """

    initial: AbstractInitial
    std: float = eqx.field(static=True)
    state_size: int = eqx.field(static=True)

    def __init__(self, initial: AbstractInitial, std: float):
        """**Arguments:**

        - `initial`: the initial state without noise.
        - `std`: the noise's standard deviation, in the units of the weights; positive.

        **Raises:** `ValueError` for a deviation that is not positive and finite,
        `TypeError` for what is no number.
        """
        self.initial = initial
        self.std = check_positive("NoisyInitial(initial, std)", "std", std)
        self.state_size = initial.state_size

    def __call__(self, x: Observation, *, key: Key | None = None) -> Weights:
        if key is None:
            return self.initial(x)
        inner, own = jr.split(key)
        theta = self.initial(x, key=inner)
        return theta + self.std * jr.normal(own, theta.shape, theta.dtype)
