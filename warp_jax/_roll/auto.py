"""theta_0, dxs -> thetas, by the roll that suits the transition and the length."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._check import check_integer
from .._transition import AbstractTransition
from .._types import Mask, Output, Weights
from .base import AbstractRoll, Fresh, Read
from .chunked import ChunkedRoll
from .segments import KEPT, segment_for
from .sequential import SequentialRoll


# What a step of a scan costs beside its arithmetic, in multiplications.
STEP = {"cpu": 3e5, "gpu": 1e8, "tpu": 1e8}
# Multiplications that take the time of reading one number, where few share it.
FETCH = 12


class Choice(NamedTuple):
    """A roll, and what it is expected to cost a sequence, in multiplications."""

    roll: AbstractRoll
    cost: float


class AutoRoll(AbstractRoll):
    """Chooses the roll from the transition, the length and the backend: see `resolve`."""

    batch: int = eqx.field(static=True)

    def __init__(self, *, batch: int = 16):
        """**Arguments:**

        - `batch`: how many sequences are rolled side by side, roughly; by default 16. The
            more there are, the less there is to gain from other kinds of parallelism.

        **Raises:** `ValueError` for fewer than 1, `TypeError` for what is no whole number.
        """
        self.batch = check_integer("AutoRoll(batch)", "batch", batch, 1)

    def resolve(
        self, transition: AbstractTransition, length: int, *, last: bool = False
    ) -> AbstractRoll:
        """Returns the roll that a sequence of `length` steps gets.

        A sequential roll costs `length` products of A with a state, each at least what
        reading A takes. A chunked roll costs `length / chunk` such products, and making
        the kernel `A^s B` and `A^chunk`; for all states, `chunk` steps on top, in which
        the whole sequence takes part at once. Of these, over all powers of two for the
        chunk, the cheapest is taken. Where the states of all steps are over four million
        numbers they are made again in the backward pass, segment by segment.

        Associative and convolution rolls are never chosen: they hold the most, and their
        small depth is for accelerators, where nothing has been measured yet.

        **Arguments:**

        - `transition`: what is rolled: for a `LowRankTransition` or a `SubspaceTransition`
            that is the one of its coefficients, `transition.reduce(...).transition`.
        - `length`: steps of the sequence.
        - `last`: whether only the last state is wanted.
        """
        return min(self._choices(transition, length, last), key=lambda c: c.cost).roll

    def explain(
        self, transition: AbstractTransition, length: int, *, last: bool = False
    ) -> str:
        """Returns the choice, and what it was weighed against, as text. Takes the
        transition of a model as it is.
        """
        rolled = rolled_by(transition)
        choices = sorted(
            self._choices(rolled, length, last), key=lambda choice: choice.cost
        )
        what = "the last state" if last else "all states"
        form = ""
        if rolled is not transition:
            form = (
                f", rolled as {rolled.state_size} coefficients instead of "
                f"{transition.state_size} weights"
            )
        lines = [
            f"{type(transition).__name__}{form}; {what} of {length} steps, batch "
            f"{self.batch}, {jax.default_backend()}: {choices[0].roll}"
        ]
        lines += [
            f"  {cost:9.2e} multiplications: {roll}" for roll, cost in choices[:4]
        ]
        return "\n".join(lines)

    def _choices(
        self, transition: AbstractTransition, length: int, last: bool
    ) -> list[Choice]:
        size, gain = transition.state_size, transition.gain_size
        step = STEP.get(jax.default_backend(), 1e8)
        act = gain * max(self.batch, FETCH)
        wide = 0 if last else length * gain * self.batch
        states = length * size
        cost = length * (step + act)
        choices = [Choice(SequentialRoll(segment=segment_for(length, size)), cost)]
        if transition.timed:
            return choices
        for power in range(1, max(length - 1, 1).bit_length()):
            chunk, count = 2**power, math.ceil(length / 2**power)
            making = chunk * gain * transition.input_size + (
                power * transition.compose_work
            )
            cost = count * (step + act) + making
            together = None
            if not last:
                cost += chunk * step + wide
                if states > KEPT:
                    together = max(1, KEPT // (chunk * size))
            choices.append(Choice(ChunkedRoll(chunk, together=together), cost))
        return choices

    def __call__(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
        read: Read,
        context: PyTree[Array],
        fresh: Fresh | None = None,
    ) -> tuple[Output, Weights]:
        roll = self.resolve(transition, len(dxs))
        if fresh is not None:
            # Sequences that begin anywhere have no powers of A in common.
            roll = SequentialRoll(segment=segment_for(len(dxs), theta.size))
        return roll(transition, theta, dxs, moves, read, context, fresh)

    def last(
        self,
        transition: AbstractTransition,
        theta: Weights,
        dxs: Float[Array, "t c"],
        moves: Mask | None,
    ) -> Weights:
        roll = self.resolve(transition, len(dxs), last=True)
        return roll.last(transition, theta, dxs, moves)


def rolled_by(transition: AbstractTransition) -> AbstractTransition:
    """Returns the transition that a roll is given in the place of `transition`."""

    def reduced(transition):
        theta = jnp.zeros(transition.state_size)
        reduction = transition.reduce(theta, transition.init(theta))
        return None if reduction is None else reduction.transition

    rolled = eqx.filter_eval_shape(reduced, transition)
    return transition if rolled is None else rolled
