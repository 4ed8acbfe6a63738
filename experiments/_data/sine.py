"""Sine waves of one period with a random phase (arXiv 2506.01153, SINE)."""

import numpy as np

from .dataset import Dataset, Split, split_at


SIZES = {"tiny": 1, "small": 10, "medium": 100, "large": 1_000, "huge": 10_000}


def make_sine() -> Dataset:
    """Returns `sin(2 pi t + phase)` at 16 times evenly over [0, 1], phase uniform within
    pi / 6 of zero: 10 000 examples for training, of which smaller sets are the first ones,
    and 1 000 each for validation and test.
    """
    train, other = max(SIZES.values()), 1_000
    phase = np.random.default_rng(0).uniform(-np.pi / 6, np.pi / 6, train + 2 * other)
    times = np.linspace(0, 1, 16)
    xs = np.sin(2 * np.pi * times + phase[:, None])[..., None].astype(np.float32)
    split = Split(xs, np.zeros(len(xs), np.int32))
    return split_at("sine", split, train, other)
