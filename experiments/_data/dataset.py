"""What every data set is: three parts that never mix; and where data sets lie."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
import pooch
from jaxtyping import Bool, Float, Integer

import warp_jax as wj


class Split(NamedTuple):
    """Part of a data set.

    - `xs`: sequences, of shape `(examples, time, input)`.
    - `labels`: a class for each, `(examples,)`; all zero where there are none.
    - `mask`: `(examples, time)`, False where a sequence is padded; `None` where none is.
    - `context`: how many steps of each are given to a model that forecasts the rest,
        `(examples,)`; `None` where that is not for the data to say.
    """

    xs: Float[np.ndarray, "n t d"]
    labels: Integer[np.ndarray, " n"]
    mask: Bool[np.ndarray, "n t"] | None = None
    context: Integer[np.ndarray, " n"] | None = None

    def take(self, which: slice | Integer[np.ndarray, " m"]) -> "Split":
        """Returns the examples of these indices."""
        mask, context = (None if a is None else a[which] for a in self[2:])
        return Split(self.xs[which], self.labels[which], mask, context)

    def sequences(self) -> "Split":
        """Returns itself: what `Pictures` have to become."""
        return self

    def head(self, count: int) -> "Split":
        """Returns the first `count` examples."""
        return self.take(slice(count))


class Dataset(NamedTuple):
    """- `train`: what models are fitted to.
    - `validation`: what chooses among them.
    - `test`: read once for each model, after all choices.
    - `in_range`: where `test` lies outside the range that `train` was drawn from, a test
        set from within it.
    - `scale`: what a difference of one means in each channel, `(input,)`, in the units
        before normalisation; `None` where nothing was normalised.
    - `centre`: what a zero means in each channel, `(input,)`; `None` for zero itself, or
        where no law needs it.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    in_range: Split | None = None
    scale: Float[np.ndarray, " d"] | None = None
    centre: Float[np.ndarray, " d"] | None = None

    @property
    def parts(self) -> tuple[Split, Split, Split]:
        """The parts that every data set has."""
        return self.train, self.validation, self.test

    @property
    def named(self) -> dict[str, Split]:
        """All parts by name."""
        parts = {name: getattr(self, name) for name in self._fields}
        return {n: part for n, part in parts.items() if isinstance(part, Split)}

    @property
    def classes(self) -> int:
        """How many classes the labels count from zero."""
        return 1 + max(int(part.labels.max()) for part in self.parts)

    def batches(self, size: int, *, key) -> wj.Batches:
        """Returns batches of the training part; `size` and `key` as of `Batches`."""
        return wj.Batches(self.train, size, key=key)


def unlabelled(xs: Float[np.ndarray, "n t d"], context=None) -> Split:
    """Returns sequences without classes, in single precision."""
    return Split(
        xs.astype(np.float32, copy=False), np.zeros(len(xs), np.int32), None, context
    )


def split_at(name: str, split: Split, train: int, validation: int) -> Dataset:
    """Cuts examples in three: the first `train`, the next `validation`, and the rest."""

    stop = train + validation
    fitted, kept = split.take(slice(train)), split.take(slice(train, stop))
    return Dataset(name, fitted, kept, split.take(slice(stop, None)))


def user_cache() -> pathlib.Path:
    """Returns the folder that the system gives the package for what can be had again."""
    return pathlib.Path(pooch.os_cache("warp_jax"))


def data_folder(given: pathlib.Path | None) -> pathlib.Path:
    """Returns where data sets lie and downloads go: the folder `given` by `--data`, else
    `$WARP_JAX_DATA`, else the user's cache, which need not exist.
    """
    if given is not None:
        return given
    set_ = os.environ.get("WARP_JAX_DATA")
    if not set_:
        return user_cache()
    if not pathlib.Path(set_).is_dir():
        raise ValueError(
            f"`$WARP_JAX_DATA` needs an existing folder of data sets; got {set_!r}. Set "
            "it to one, or give `--data DIR`."
        )
    return pathlib.Path(set_)
