"""theta_0 from x_0, by a network that writes another one's weights."""

from collections.abc import Callable

import equinox as eqx
import jax.nn as jnn
import jax.random as jr

from .._check import check_integer
from .._types import Key, Observation, Weights
from .base import AbstractInitial


class Hypernetwork(AbstractInitial):
    """A perceptron from the first observation to the initial state.

    The widths of its hidden layers interpolate linearly between `input_size` and
    `state_size` (arXiv 2506.01153), unless `width` sets one for all: with a large state
    the paper's widths make this the largest part of a model by far.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable
    input_size: int = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    rank: int | None = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        state_size: int,
        depth: int = 2,
        *,
        width: int | None = None,
        rank: int | None = None,
        activation: Callable = jnn.silu,
        theta: Weights | None = None,
        key: Key,
    ):
        """**Arguments:**

        - `input_size`, `state_size`: sizes of an observation and of the state.
        - `depth`: hidden layers, by default 2; 0 makes the map affine.
        - `width`: of every hidden layer; by default the paper's interpolation.
        - `rank`: of the last layer's matrix, as a product of two thin ones: then a large
            state costs `state_size * rank` parameters instead of `state_size * width`.
            By default the matrix is full.
        - `activation`: between the layers; by default SiLU.
        - `theta`: weights that the last layer's bias starts at, `(state,)`. A fresh
            network's weights, `decoder.flatten(network)`, start the decoder as a usual
            network, whatever `x_0`. By default it starts as any other bias.
        - `key`: for the initial weights.

        **Raises:** `ValueError` for `theta` of another shape or a number below its least,
        `TypeError` for one that is no whole number.
        """
        call = "Hypernetwork(input_size, state_size, depth)"
        self.input_size = check_integer(call, "input_size", input_size, 1)
        self.state_size = check_integer(call, "state_size", state_size, 1)
        depth = check_integer(call, "depth", depth, 0)
        if width is not None:
            check_integer(call, "width", width, 1)
        if rank is not None:
            check_integer(call, "rank", rank, 1)
        span = self.state_size - self.input_size
        hidden = [
            width or round(self.input_size + i * span / (depth + 1))
            for i in range(1, depth + 1)
        ]
        sizes = [self.input_size, *hidden, self.state_size]
        if rank is not None:
            sizes.insert(-1, rank)
            depth += 1
        layers = [
            eqx.nn.Linear(i, o, key=k)
            for i, o, k in zip(sizes[:-1], sizes[1:], jr.split(key, depth + 1))
        ]
        if theta is not None:
            if theta.shape != (self.state_size,):
                raise ValueError(
                    f"`{call}` needs `theta` of shape ({self.state_size},); got "
                    f"{theta.shape}."
                )
            layers[-1] = eqx.tree_at(lambda layer: layer.bias, layers[-1], theta)
        self.layers = tuple(layers)
        self.activation = activation
        self.rank = rank

    def __call__(self, x: Observation, *, key: Key | None = None) -> Weights:
        if x.shape != (self.input_size,):
            raise ValueError(
                f"`Hypernetwork(input_size={self.input_size})` needs an observation of "
                f"shape ({self.input_size},); got {x.shape}."
            )
        hidden = len(self.layers) - (1 if self.rank is None else 2)
        for i, layer in enumerate(self.layers):
            x = self.activation(layer(x)) if i < hidden else layer(x)
        return x
