"""WARP in NumPy, written from the paper and sharing no code with warp_jax.

Parameters come as a dictionary from their place in the model to their numbers. Where the
model is smooth so is this, in complex numbers too: a tiny step along the imaginary axis
gives derivatives to the last digit.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
    def embedded(self) -> str:
        """What a drive that goes through a network is without it."""
        return self.drive.removeprefix("embedded").removeprefix("_") or "values"

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


def rotations(real, imaginary):
    """Returns the matrix that multiplies complex numbers, kept as their real parts and
    then their imaginary ones, by the numbers given.
    """
    modes = len(real)
    A = np.zeros((2 * modes, 2 * modes), real.dtype)
    for i in range(modes):
        A[i, i] = A[modes + i, modes + i] = real[i]
        A[i, modes + i], A[modes + i, i] = -imaginary[i], imaginary[i]
    return A


def oscillators(frequency, b):
    """Returns A and B of implicit LinOSS as its authors write it, of the velocities and
    the positions, then in units in which a position counts times its frequency.
    """
    S, modes = 1 / (1 + frequency**2), len(frequency)
    A = np.zeros((2 * modes, 2 * modes), frequency.dtype)
    for i in range(modes):
        # z_k = S (z - w^2 y + b u), y_k = S (z + y + b u)
        A[i, i], A[i, modes + i] = S[i], -S[i] * frequency[i] ** 2
        A[modes + i, i] = A[modes + i, modes + i] = S[i]
    B = np.concatenate([S[:, None] * b, S[:, None] * b])
    units = np.concatenate([np.ones(modes), frequency])
    return units[:, None] * A / units, units[:, None] * B


def matrices(kind: str, w: Arrays, place: str = ".transition."):
    """Returns A and B, from the numbers in which each transition keeps them."""
    if kind == "oscillatory":
        return oscillators(np.exp(w[place + "log_frequency"]), w[place + "B"])
    B = w[place + "B"]
    size = len(B)
    if kind == "dense":
        A = w[place + "A"]
    elif kind == "diagonal":
        A = np.diag(w[place + "a"])
    elif kind in ("low_rank", "high_rank"):
        A = w[place + "a"] * np.eye(size) + w[place + "U"] @ w[place + "V"].T
    elif kind == "spectral":
        # exp(-exp(log_decay) + i exp(log_phase)); the imaginary unit is taken by the step.
        radius = np.exp(-np.exp(w[place + "log_decay"]))
        phase = np.exp(w[place + "log_phase"])
        A = rotations(radius * np.cos(phase), radius * np.sin(phase))
    else:
        blocks = w[place + "blocks"]
        A = np.zeros((size, size), blocks.dtype)
        rows = blocks.shape[1]
        for i in range(size):
            for j in range(size):
                if i // rows == j // rows:
                    A[i, j] = blocks[i // rows, i % rows, j % rows]
    return A, B


def mover(choices: Choices, w: Arrays, theta, limit: float | None):
    """Returns a function from the drive of a step to the state after it."""
    if choices.transition.startswith("subspace_"):
        inner = choices.transition.removeprefix("subspace_")
        A, B = matrices(inner, w, ".transition.dynamics.")
        P, first, c = w[".transition.P"], theta, np.zeros(len(A))

        def move(dx):
            nonlocal c
            c = A @ c + B @ dx
            return first + P @ c
    else:
        A, B = matrices(choices.transition, w)

        def move(dx):
            nonlocal theta
            theta = A @ theta + B @ dx
            theta = theta if limit is None else clip(theta, limit)
            return theta

    return move


def initial(choices: Choices, w: Arrays, x):
    """Returns theta_0: learnt, or written by a perceptron."""
    if ".initial.theta" in w:
        return w[".initial.theta"]
    depth = sum(name.startswith(".initial.layers") for name in w) // 2
    # Of a last matrix in two factors, the first has nothing after it either.
    plain = 2 if choices.initial == "thin" else 1
    for i in range(depth):
        layer = f".initial.layers[{i}]."
        x = w[layer + "weight"] @ x + w[layer + "bias"]
        x = silu(x) if i < depth - plain else x
    return x


def channels(choices: Choices, w: Arrays, xs, ts, i: int):
    """Returns what of step i the drive looks at, of a sequence without padding."""
    x = xs[i]
    if choices.drive in ("causal", "causal_products", "noncausal"):
        kernel, bias = w[".drive.convolution.weight"], w[".drive.convolution.bias"]
        width = kernel.shape[2]
        ahead = width // 2 if choices.drive == "noncausal" else 0
        x = bias[:, 0]
        for k in range(width):
            j = min(max(i + ahead - (width - 1) + k, 0), len(xs) - 1)
            x = x + kernel[:, :, k] @ xs[j]
        x = silu(x)
    return np.append(x, ts[i]) if choices.time_channel else x


def iterated(points):
    """Returns the first and second iterated integrals of a path of straight lines."""
    count = len(points[0])
    first = np.zeros(count, points.dtype)
    second = np.zeros((count, count), points.dtype)
    for move in points[1:] - points[:-1]:
        # What came before is a constant while this line is drawn, half of it itself.
        second = second + np.outer(first, move) + np.outer(move, move) / 2
        first = first + move
    return first, second


def log_signature(choices: Choices, w: Arrays, xs, ts, i: int, window: int):
    """Returns the increments of a window that ends with step i, then its areas."""
    steps = [max(i - window + k, 0) for k in range(window + 1)]
    first, second = iterated(np.stack([channels(choices, w, xs, ts, j) for j in steps]))
    areas = (second - second.T) / 2
    return np.append(first, areas[np.triu_indices(len(first), 1)])


def products(inputs, targets):
    """Returns the distinct products of inputs, then all of an input and a target."""
    square = np.outer(inputs, inputs)[np.triu_indices(len(inputs))]
    return np.append(square, np.outer(inputs, targets))


def drive(choices: Choices, w: Arrays, xs, ts, i: int):
    """Returns what drives the move from step i - 1 to step i."""
    if choices.drive.startswith("embedded"):
        inside = choices._replace(drive=choices.embedded)
        first, second = (f".drive.network.layers[{layer}]." for layer in (0, 1))
        dx = drive(inside, w, xs, ts, i)
        hidden = silu(w[first + "weight"] @ dx + w[first + "bias"])
        return w[second + "weight"] @ hidden + w[second + "bias"]
    if choices.drive == "signature":
        return log_signature(choices, w, xs, ts, i, 3)
    before, now = (channels(choices, w, xs, ts, j) for j in (i - 1, i))
    if choices.drive == "values":
        return now
    if choices.drive in ("products", "causal_products"):
        return products(before, now - before)
    if choices.drive == "joined":
        timeless = choices._replace(time_channel=False)
        areas = log_signature(timeless, w, xs, ts, i, 4)
        # The second channel is an input of the law that the first one follows.
        pairs = products(xs[i - 1], xs[i, :1] - xs[i - 1, :1])
        return np.concatenate([now - before, areas, pairs])
    return now - before


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
    valid = np.flatnonzero(mask)
    seen_xs, seen_ts, seen = xs[valid], ts[valid], 0
    theta = initial(choices, w, seen_xs[0])
    move = mover(choices, w, theta, limit)
    thetas, outputs = [], []
    for step in range(len(xs)):
        if mask[step]:
            if seen:
                theta = move(drive(choices, w, seen_xs, seen_ts, seen))
            seen += 1
        x = seen_xs[max(seen - 1, 0)]
        thetas.append(theta)
        outputs.append(decode(choices, w, theta, x, queries[step]))
    return np.stack(thetas), np.stack(outputs)


def mixture(choices: Choices, outputs):
    """Returns the mean of outputs; of Gaussians the mean of their mixture, and after it
    the standard deviation.
    """
    average = np.mean(outputs, axis=0)
    if choices.decoder != "gaussian":
        return average
    mean, second = average[:OUT], np.mean(outputs**2, axis=0)
    return np.concatenate([mean, np.sqrt(second[:OUT] + second[OUT:] - mean**2)])


def within(w: Arrays, place: str) -> Arrays:
    """Returns the numbers of one part of a model, by their places in that part."""
    return {
        name.removeprefix(place): array
        for name, array in w.items()
        if name.startswith(place + ".")
    }


def gradient(
    function: Callable[[Arrays], Any], arrays: Arrays
) -> dict[str, np.ndarray]:
    """Differentiates a scalar function in every entry of every array."""
    slopes = {name: np.zeros(array.shape) for name, array in arrays.items()}
    for name, array in arrays.items():
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * STEP
            slopes[name][index] = function({**arrays, name: moved}).imag / STEP
    return slopes
