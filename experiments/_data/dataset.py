"""What every data set is: three parts that never mix; and where data sets lie."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
import pooch
from jaxtyping import Bool, Float, Integer


class Split(NamedTuple):
    """Part of a data set.

    - `xs`: sequences, of shape `(examples, time, input)`.
    - `labels`: a class for each, `(examples,)`; all zero where there are none.
    - `mask`: `(examples, time)`, False where a sequence is padded; `None` where none is.
    """

    xs: Float[np.ndarray, "n t d"]
    labels: Integer[np.ndarray, " n"]
    mask: Bool[np.ndarray, "n t"] | None = None

    def take(self, which: slice | Integer[np.ndarray, " m"]) -> "Split":
        """Returns the examples of these indices."""
        mask = None if self.mask is None else self.mask[which]
        return Split(self.xs[which], self.labels[which], mask)

    def head(self, count: int) -> "Split":
        """Returns the first `count` examples."""
        return self.take(slice(count))


class Dataset(NamedTuple):
    """- `train`: what models are fitted to.
    - `validation`: what chooses among them.
    - `test`: read once for each model, after all choices.
    """

    name: str
    train: Split
    validation: Split
    test: Split

    @property
    def classes(self) -> int:
        """How many classes the labels count from zero."""
        return 1 + max(int(part.labels.max()) for part in self[1:])


def split_at(name: str, split: Split, train: int, validation: int) -> Dataset:
    """Cuts examples in three: the first `train`, the next `validation`, and the rest."""

    stop = train + validation
    parts = slice(train), slice(train, stop), slice(stop, None)
    return Dataset(name, *(split.take(part) for part in parts))


def data_folder(given: pathlib.Path | None) -> pathlib.Path:
    """Returns where data sets lie and downloads go: the folder `given` by `--data`, else
    `$WARP_JAX_DATA`, else the user's cache, which need not exist.
    """
    if given is not None:
        return given
    set_ = os.environ.get("WARP_JAX_DATA")
    if not set_:
        return pathlib.Path(pooch.os_cache("warp_jax"))
    if not pathlib.Path(set_).is_dir():
        raise ValueError(
            f"`$WARP_JAX_DATA` needs an existing folder of data sets; got {set_!r}. Set "
            "it to one, or give `--data DIR`."
        )
    return pathlib.Path(set_)
