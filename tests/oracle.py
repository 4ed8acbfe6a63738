"""WARP in NumPy, written from the paper and sharing no code with warp_jax.

Parameters come as a dictionary from their place in the model to their numbers. Where the
model is smooth so is this, in complex numbers too: a tiny step along the imaginary axis
gives derivatives to the last digit.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


Arrays = Mapping[str, np.ndarray]
INPUT, HIDDEN, OUT = 2, 3, 2
STEP = 1e-100


class Choices(NamedTuple):
    """Which parts a model is made of."""

    transition: str = "dense"
    initial: str = "hypernetwork"
    drive: str = "increments"
    time_channel: bool = False
    decoder: str = "network"
    coordinates: str = "time"

    @property
    def coordinate_size(self) -> int:
        return 5 if self.coordinates == "sinusoidal" else 1

    @property
    def network_in(self) -> int:
        return self.coordinate_size + (INPUT if self.decoder == "observing" else 0)

    @property
    def network_out(self) -> int:
        return 2 * OUT if self.decoder == "gaussian" else OUT

    @property
    def state_size(self) -> int:
        return HIDDEN * (self.network_in + 1) + self.network_out * (HIDDEN + 1)


def silu(z):
    return z / (1 + np.exp(-z))


def clip(z, limit):
    return np.where(z.real > limit, limit, np.where(z.real < -limit, -limit, z))


def matrices(choices: Choices, w: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Returns A and B, from the numbers in which each transition keeps them."""
    size = choices.state_size
    place = ".transition."
    if choices.transition == "dense":
        A = w[place + "A"]
    elif choices.transition == "diagonal":
        A = np.diag(w[place + "a"])
    elif choices.transition == "low_rank":
        A = w[place + "a"] * np.eye(size) + w[place + "U"] @ w[place + "V"].T
    else:
        blocks = w[place + "blocks"]
        A = np.zeros((size, size), blocks.dtype)
        rows = blocks.shape[1]
        for i in range(size):
            for j in range(size):
                if i // rows == j // rows:
                    A[i, j] = blocks[i // rows, i % rows, j % rows]
    return A, w[place + "B"]


def initial(w: Arrays, x):
    """Returns theta_0: learnt, or written by a perceptron."""
    if ".initial.theta" in w:
        return w[".initial.theta"]
    depth = sum(name.startswith(".initial.layers") for name in w) // 2
    for i in range(depth):
        layer = f".initial.layers[{i}]."
        x = w[layer + "weight"] @ x + w[layer + "bias"]
        x = silu(x) if i < depth - 1 else x
    return x


def channels(choices: Choices, w: Arrays, xs, ts, i: int):
    """Returns what of step i the drive looks at, of a sequence without padding."""
    x = xs[i]
    if choices.drive in ("causal", "noncausal"):
        kernel, bias = w[".drive.convolution.weight"], w[".drive.convolution.bias"]
        width = kernel.shape[2]
        ahead = width // 2 if choices.drive == "noncausal" else 0
        x = bias[:, 0]
        for k in range(width):
            j = min(max(i + ahead - (width - 1) + k, 0), len(xs) - 1)
            x = x + kernel[:, :, k] @ xs[j]
        x = silu(x)
    return np.append(x, ts[i]) if choices.time_channel else x


def drive(choices: Choices, w: Arrays, xs, ts, i: int):
    """Returns what drives the move from step i - 1 to step i."""
    now = channels(choices, w, xs, ts, i)
    if choices.drive == "values":
        return now
    return now - channels(choices, w, xs, ts, i - 1)


def coordinate(choices: Choices, time):
    """Returns where the network is read: the time, and perhaps sines and cosines of it."""
    entries = [time]
    if choices.coordinates == "sinusoidal":
        for i in range(0, 4, 2):
            angle = 3.0 * time / 7.0 ** (i / 4)
            entries += [np.sin(angle), np.cos(angle)]
    return np.stack(entries)


def network(choices: Choices, theta, inputs):
    """Runs the perceptron with one hidden layer whose weights lie in `theta`."""
    ins, outs = choices.network_in, choices.network_out
    cuts = np.cumsum([HIDDEN * ins, HIDDEN, outs * HIDDEN])
    first, first_bias, second, second_bias = np.split(theta, cuts)
    hidden = silu(first.reshape(HIDDEN, ins) @ inputs + first_bias)
    return second.reshape(outs, HIDDEN) @ hidden + second_bias


def decode(choices: Choices, w: Arrays, theta, x, time):
    """Returns the output; of a Gaussian first the mean, then the standard deviation."""
    inputs = coordinate(choices, time)
    if choices.decoder == "observing":
        inputs = np.concatenate([inputs, x])
    y = network(choices, theta, inputs)
    if choices.decoder == "gaussian":
        mean, raw = np.split(y, 2)
        return np.concatenate([mean, np.log1p(np.exp(raw))])
    if choices.decoder == "tanh":
        tanh = {n: w[f".decoder.activation.{n}"] for n in ("a", "b", "alpha", "beta")}
        return tanh["alpha"] * np.tanh((y - tanh["b"]) / tanh["a"]) + tanh["beta"]
    return y


def run(choices: Choices, w: Arrays, xs, ts, queries=None, mask=None, limit=None):
    """Returns the states and the outputs of every step, by one loop over the steps."""
    queries = ts if queries is None else queries
    mask = np.ones(len(xs), bool) if mask is None else mask
    A, B = matrices(choices, w)
    valid = np.flatnonzero(mask)
    seen_xs, seen_ts, seen = xs[valid], ts[valid], 0
    theta = initial(w, seen_xs[0])
    thetas, outputs = [], []
    for step in range(len(xs)):
        if mask[step]:
            if seen:
                theta = A @ theta + B @ drive(choices, w, seen_xs, seen_ts, seen)
                theta = theta if limit is None else clip(theta, limit)
            seen += 1
        x = seen_xs[max(seen - 1, 0)]
        thetas.append(theta)
        outputs.append(decode(choices, w, theta, x, queries[step]))
    return np.stack(thetas), np.stack(outputs)


def gradient(
    function: Callable[[Arrays], np.generic], arrays: Arrays
) -> dict[str, np.ndarray]:
    """Differentiates a scalar function in every entry of every array."""
    slopes = {name: np.zeros(array.shape) for name, array in arrays.items()}
    for name, array in arrays.items():
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * STEP
            slopes[name][index] = function({**arrays, name: moved}).imag / STEP
    return slopes
