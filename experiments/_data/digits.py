"""The 1 797 handwritten digits of 8 x 8 pixels that scikit-learn ships.

Part of "Optical recognition of handwritten digits", Alpaydin and Kaynak 1998, UCI machine
learning repository (CC BY 4.0).
"""

import numpy as np
from sklearn import datasets

from .dataset import Dataset, Split, split_at


SIDE = 8


def load_digits() -> Dataset:
    """Returns the digits as sequences of 64 grey values in [0, 1], row by row.

    The order is shuffled once, the same way always: 1 257 examples for training, 180 for
    validation, 360 for the test.
    """
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    xs = (images[order, :, None] / 16).astype(np.float32)
    return split_at("digits", Split(xs, labels[order].astype(np.int32)), 1257, 180)
