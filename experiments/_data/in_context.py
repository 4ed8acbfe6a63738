"""Functions told by examples in a context (Garg et al. 2022, arXiv 2208.01066)."""

import abc
import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .made import stream


# How far a query out of range lies: its largest coordinate is between these.
BEYOND = 1.0, 2.0


class Contexts(NamedTuple):
    """Functions, a different one in each context.

    - `xs`: a row of zeros, at which a recurrence starts, and then the tokens (x, y), of
        shape `(contexts, 1 + tokens, keys + 1)`.
    - `queries`: where the function is asked for, `(contexts, queries, keys)`.
    - `answers`: its values there, without noise, `(contexts, queries)`.
    """

    xs: Float[np.ndarray, "n t d"]
    queries: Float[np.ndarray, "n q k"]
    answers: Float[np.ndarray, "n q"]

    def given(self, tokens: int) -> "Contexts":
        """Returns the same contexts, of which the first `tokens` are given."""
        return self._replace(xs=self.xs[:, : 1 + tokens])


@dataclasses.dataclass(frozen=True)
class AbstractFamily(abc.ABC):
    """Functions of keys that are uniform in [-1, 1]^keys.

    - `keys`: how many numbers an x has.
    - `noise`: the standard deviation of what is added to the values of the tokens.
    """

    keys: int
    noise: float = 0.0

    @property
    @abc.abstractmethod
    def prior(self) -> float:
        """The variance of each weight of the function, as a linear one of its features."""

    @abc.abstractmethod
    def constants(
        self, random: np.random.Generator, count: int
    ) -> Float[np.ndarray, "n c"]:
        """Draws the constants of so many functions."""

    @abc.abstractmethod
    def values(
        self, constants: Float[np.ndarray, "n c"], keys: Float[np.ndarray, "n m k"]
    ) -> Float[np.ndarray, "n m"]:
        """Returns the values of each function at keys of its own."""

    def draw(
        self,
        random: np.random.Generator,
        count: int,
        tokens: int,
        queries: int,
        beyond: bool = False,
    ) -> Contexts:
        """Draws contexts, in single precision.

        - `beyond`: whether the queries lie out of the range of the tokens. The contexts
            are the same.
        """
        constants = self.constants(random, count)
        keys = random.uniform(-1, 1, (count, tokens, self.keys))
        error = self.noise * random.standard_normal((count, tokens))
        asked = random.uniform(-1, 1, (count, queries, self.keys))
        if beyond:
            largest = np.abs(asked).max(-1, keepdims=True)
            asked = asked / largest * random.uniform(*BEYOND, largest.shape)
        values = self.values(constants, keys) + error
        told = np.concatenate([keys, values[..., None]], axis=-1)
        xs = np.pad(told, ((0, 0), (1, 0), (0, 0)))
        answers = self.values(constants, asked)
        return Contexts(*(a.astype(np.float32) for a in (xs, asked, answers)))


@dataclasses.dataclass(frozen=True)
class Linear(AbstractFamily):
    """`y = w . x`, w uniform in [-1, 1]^keys."""

    @property
    def prior(self) -> float:
        return 1 / 3

    def constants(self, random, count):
        return random.uniform(-1, 1, (count, self.keys))

    def values(self, constants, keys):
        return np.einsum("nmk,nk->nm", keys, constants)


@dataclasses.dataclass(frozen=True)
class Sinusoids(AbstractFamily):
    """`y = a sin(5 x + p)`, a uniform in [0.02, 1] and p in [0, pi]: those of Finn et al.
    2017 (arXiv 1703.03400), both axes divided by 5.
    """

    keys: int = 1

    @property
    def prior(self) -> float:
        # Of a cos(p) and of a sin(p), their mean included, averaged.
        low, high = 0.02, 1.0
        return (high**3 - low**3) / (high - low) / 6

    def constants(self, random, count):
        return random.uniform((0.02, 0.0), (1.0, np.pi), (count, 2))

    def values(self, constants, keys):
        amplitude, phase = constants.T[..., None]
        return amplitude * np.sin(5 * keys[..., 0] + phase)


class Regressions(NamedTuple):
    """- `validation`: what chooses among models.
    - `test`: read once for each model, after all choices.
    - `beyond`: the contexts of `test`, with queries out of range.

    Training contexts are drawn anew for every batch, by `Fresh`.
    """

    validation: Contexts
    test: Contexts
    beyond: Contexts


def make_in_context(
    family: AbstractFamily, tokens: int, contexts: tuple[int, int], queries: int
) -> Regressions:
    """Returns so many `contexts` for validation and for the test, with `tokens` and
    `queries` each.
    """
    choosing, tested = contexts
    return Regressions(
        family.draw(stream("validation"), choosing, tokens, queries),
        family.draw(stream("test"), tested, tokens, queries),
        family.draw(stream("test"), tested, tokens, queries, beyond=True),
    )


class Fresh:
    """An endless supply of contexts for training, none of which comes twice. Batch number i
    can be had directly, so a training that is resumed goes on where it stopped.
    """

    def __init__(
        self, family: AbstractFamily, size: int, tokens: int, queries: int, *, seed: int
    ):
        """**Arguments:** `size`: contexts of a batch; `seed`: other ones for each."""
        self.family, self.shape, self.seed = family, (size, tokens, queries), seed

    def __call__(self, step: int) -> Contexts:
        """Returns batch number `step`, counted from 0."""
        # The streams of the parts begin with another number.
        random = np.random.default_rng((2, self.seed, step))
        return self.family.draw(random, *self.shape)
