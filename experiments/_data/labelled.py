"""What `--dataset` of a classifier names -> sequences with a class each."""

import pathlib
from collections.abc import Callable

import jax
import numpy as np

from .dataset import Dataset
from .digits import load_digits
from .images import Images
from .mnist import load_fashion_mnist, load_mnist
from .uea import load_uea


# Of pictures each pixel is a step, row by row.
Labelled = Dataset | Images
LABELLED: dict[str, Callable[[pathlib.Path], Labelled]] = {
    "digits": lambda folder: load_digits(),
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
}


def load_labelled(name: str, folder: pathlib.Path) -> Labelled:
    """Returns the data set of this name.

    - `name`: one of `LABELLED`, or of the UEA archive.
    - `folder`: where data sets lie.

    **Raises:** `ValueError` for files that cannot be had, or are not such a data set.
    """
    load = LABELLED.get(name)
    return load_uea(name, folder) if load is None else load(folder)


def with_validation(data: Labelled) -> Labelled:
    """Returns the data set with what chose among models to train on too, after what was
    there to train on. Units stay those of the training part alone.
    """
    train = jax.tree.map(lambda *a: np.concatenate(a), data.train, data.validation)
    return data._replace(train=train)
