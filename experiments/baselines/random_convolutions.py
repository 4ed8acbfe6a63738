"""Random convolutions and ridge regression, in the manner of MiniRocket (Dempster et al.
2020, arXiv 2012.08791): a classifier without gradient steps.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._data import Split


LENGTH = 9
# All kernels of nine weights of which three are 2 and six are -1: 84.
KERNELS = np.array(
    [
        [2.0 if j in chosen else -1.0 for j in range(LENGTH)]
        for chosen in itertools.combinations(range(LENGTH), 3)
    ],
    np.float32,
)
PENALTIES = np.logspace(-3, 3, 10)
# Numbers of a convolution's output that are held at once.
HELD = 20_000_000


class RandomConvolutions(NamedTuple):
    """Which shares of a sequence's steps lie above thresholds, after convolutions.

    - `dilations`: steps between the weights of a kernel.
    - `weights`: of each dilation and kernel, over the weights and a random choice of
        channels.
    - `biases`: thresholds of each.
    """

    dilations: tuple[int, ...]
    weights: Float[np.ndarray, "dilation tap_channel kernel"]
    biases: Float[np.ndarray, "dilation kernel bias"]

    @classmethod
    def fit(
        cls, train: Split, *, features: int = 10_000, seed: int = 0
    ) -> "RandomConvolutions":
        """Returns convolutions with thresholds that are quantiles of what they give of
        training sequences, one drawn for each dilation and kernel.

        - `features`: how many, about; at least one of each dilation and kernel.
        """
        random = np.random.default_rng(seed)
        longest = max(1, (train.xs.shape[1] - 1) // (LENGTH - 1))
        powers = np.arange(int(math.log2(longest)) + 1)
        dilations = tuple(int(2**power) for power in powers)
        count = max(1, round(features / (len(dilations) * len(KERNELS))))
        # Evenly spread whatever their number is.
        levels = np.arange(1, count + 1) * (math.sqrt(5) + 1) / 2 % 1
        channels = train.xs.shape[2]
        weights, biases = [], []
        for dilation in dilations:
            mixed = np.stack([_over_channels(k, channels, random) for k in KERNELS], -1)
            drawn = train.take(random.integers(len(train.xs), size=len(KERNELS)))
            outputs = _convolved(drawn.xs, mixed, dilation)
            mask = (
                np.ones(drawn.xs.shape[:2], bool) if drawn.mask is None else drawn.mask
            )
            biases.append(
                [np.quantile(outputs[k, mask[k], k], levels) for k in range(len(mask))]
            )
            weights.append(mixed)
        return cls(dilations, np.stack(weights), np.array(biases, np.float32))

    def __call__(
        self, xs: Float[np.ndarray, "n t d"], mask: Bool[np.ndarray, "n t"] | None
    ) -> Float[np.ndarray, "n f"]:
        """Returns the shares of the valid steps, the features of every sequence."""
        size = max(1, HELD // (xs.shape[1] * len(KERNELS)))
        valid = np.ones(xs.shape[:2], bool) if mask is None else mask
        xs = np.where(valid[..., None], xs, 0)
        return np.concatenate(
            [
                self._shares(xs[i : i + size], valid[i : i + size])
                for i in range(0, len(xs), size)
            ]
        )

    def _shares(self, xs, valid):
        steps = valid.sum(1, dtype=np.float32)[:, None]
        columns = []
        for dilation, weights, biases in zip(*self):
            outputs = _convolved(xs, weights, dilation)
            outputs[~valid] = -np.inf
            for bias in biases.T:
                columns.append((outputs > bias).sum(1, dtype=np.float32) / steps)
        return np.concatenate(columns, axis=1)


def _over_channels(
    kernel: Float[np.ndarray, " k"], channels: int, random: np.random.Generator
) -> Float[np.ndarray, " kc"]:
    """Returns the kernel over a random choice of channels, of a number that is drawn evenly
    in its logarithm; zero over the others.
    """
    most = min(channels, LENGTH)
    count = int(2 ** random.uniform(0, math.log2(most + 1)))
    chosen = random.choice(channels, size=count, replace=False)
    return np.outer(kernel, np.isin(np.arange(channels), chosen)).ravel()


def _convolved(xs, weights, dilation):
    """Returns what each kernel gives at each step, `(example, time, kernel)`, with zeros
    before and after a sequence.
    """
    reach = dilation * (LENGTH // 2)
    padded = np.pad(xs, ((0, 0), (reach, reach), (0, 0)))
    shifts = [padded[:, k * dilation :][:, : xs.shape[1]] for k in range(LENGTH)]
    return np.concatenate(shifts, axis=-1) @ weights.astype(np.float32)


def classify(train: Split, test: Split, seed: int = 0) -> tuple[dict[str, float], int]:
    """Returns metrics on `test` of ridge regression on the features, and how many
    coefficients it has. Its penalty is that of the least leave-one-out error within the
    training set, of ten between 1e-3 and 1e3.
    """
    convolutions = RandomConvolutions.fit(train, seed=seed)
    ridge: Any = RidgeClassifierCV(alphas=PENALTIES)
    model = make_pipeline(StandardScaler(with_mean=False), ridge)
    model.fit(convolutions(train.xs, train.mask), train.labels)
    found = model.predict(convolutions(test.xs, test.mask))
    return {"test_accuracy": float(np.mean(found == test.labels))}, ridge.coef_.size
