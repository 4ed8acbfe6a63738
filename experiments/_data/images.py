"""Pictures -> sequences of pixels, row by row from the top left."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from .dataset import Dataset, Split
from .gathered import Gathered


class Pictures(NamedTuple):
    """- `pixels`: `(examples, height, width, channels)`, one byte for each.
    - `labels`: a class for each, `(examples,)`; all zero where there are none.
    """

    pixels: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, " n"]

    def take(self, which: slice | Integer[np.ndarray, " m"]) -> "Pictures":
        """Returns the examples of these indices."""
        return Pictures(self.pixels[which], self.labels[which])

    def sequences(self) -> Split:
        """Returns the pictures as sequences, `(examples, height * width, channels)`, in
        single precision, from -1 for the byte 0 to 1 for the byte 255.
        """
        count, *_, channels = self.pixels.shape
        rows = self.pixels.reshape(count, -1, channels)
        xs = np.divide(rows, 127.5, dtype=np.float32)
        xs -= 1
        return Split(xs, self.labels)


class Images(NamedTuple):
    """A data set of pictures, in the bytes that they come in. As numbers they take four
    times the memory: `dataset` makes all of them, `batches` those of one batch at a time.
    """

    name: str
    train: Pictures
    validation: Pictures
    test: Pictures

    @property
    def parts(self) -> tuple[Pictures, Pictures, Pictures]:
        """The parts, as of a `Dataset`."""
        return self.train, self.validation, self.test

    @property
    def classes(self) -> int:
        """How many classes the labels count from zero."""
        return 1 + max(int(part.labels.max()) for part in self.parts)

    def dataset(self) -> Dataset:
        """Returns all parts as sequences; `scale` and `centre` are for pixels in [0, 1]."""
        parts = (part.sequences() for part in self.parts)
        half = np.full(self.train.pixels.shape[-1], 0.5)
        return Dataset(self.name, *parts, scale=half, centre=half)

    def batches(self, size: int, *, key) -> Gathered:
        """Returns the batches that `warp_jax.Batches` gives of `dataset().train`.

        - `size`, `key`: as there.
        """

        def make(which: Integer[np.ndarray, " m"]) -> Split:
            return self.train.take(which).sequences()

        return Gathered(make, len(self.train.labels), size, key=key)


def cut_off(pictures: Pictures, share: int) -> tuple[Pictures, Pictures]:
    """Returns pictures to train on, in their order, and one in `share` of them, rounded
    down, to validate on: drawn once, the same ones always.
    """
    count = len(pictures.labels)
    order = np.random.default_rng(0).permutation(count)
    kept = np.sort(order[: count // share])
    return pictures.take(np.setdiff1d(np.arange(count), kept)), pictures.take(kept)
