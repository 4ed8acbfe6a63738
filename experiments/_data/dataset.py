"""What every data set is: three parts that never mix."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer


class Split(NamedTuple):
    """Part of a data set.

    - `xs`: sequences, of shape `(examples, time, input)`.
    - `labels`: a class for each, `(examples,)`; all zero where there are none.
    """

    xs: Float[np.ndarray, "n t d"]
    labels: Integer[np.ndarray, " n"]

    def head(self, count: int) -> "Split":
        """Returns the first `count` examples."""
        return Split(self.xs[:count], self.labels[:count])


class Dataset(NamedTuple):
    """- `train`: what models are fitted to.
    - `validation`: what chooses among them.
    - `test`: read once for each model, after all choices.
    """

    name: str
    train: Split
    validation: Split
    test: Split


def split_at(name: str, split: Split, train: int, validation: int) -> Dataset:
    """Cuts examples in three: the first `train`, the next `validation`, and the rest."""

    def part(start: int, stop: int | None) -> Split:
        return Split(split.xs[start:stop], split.labels[start:stop])

    stop = train + validation
    return Dataset(name, part(0, train), part(train, stop), part(stop, None))
