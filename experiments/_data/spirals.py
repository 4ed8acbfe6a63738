"""Planar spirals that turn one way or the other, from a random angle, with noise.

After the neural controlled differential equation example in the documentation of Diffrax
(Kidger 2021, arXiv 2202.02435).
"""

import numpy as np

from .dataset import Dataset, Split, split_at


def make_spirals(noise: float = 0.05) -> Dataset:
    """Returns decaying spirals, two turns a radian of decay apart, `(example, 100, 2)`.

    Label 1 turns clockwise. 256 examples for training, 128 for validation, 512 for the
    test, the classes drawn with equal chance.
    """
    train, validation, test = 256, 128, 512
    count = train + validation + test
    random = np.random.default_rng(0)
    times = np.linspace(0, 4 * np.pi, 100)
    labels = random.integers(0, 2, count)
    start = random.uniform(0, 2 * np.pi, count)
    angle = start[:, None] + np.where(labels == 1, -1, 1)[:, None] * times
    radius = np.exp(-0.15 * times)
    xs = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    xs = xs + noise * random.normal(size=xs.shape)
    split = Split(xs.astype(np.float32), labels.astype(np.int32))
    return split_at("spirals", split, train, validation)
