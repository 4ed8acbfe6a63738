"""A training -> what is told of it."""

import sys
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Progress(NamedTuple):
    """What `fit` reports as it goes.

    - `step`, `steps`: how many steps are done, and how many there are.
    - `loss`, `gradient_norm`: means since the last report.
    - `validation`: the figure at this step, or `None` without a `validate`.
    - `best`: the least validation figure so far, or `None`.
    - `seconds`: since this call of `fit` began.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float
    validation: float | None
    best: float | None
    seconds: float


class History(NamedTuple):
    """What a training went through.

    - `loss`, `gradient_norm`: of every step, `(steps,)`, before its update.
    - `validation`: pairs of a step and its figure.
    - `best_step`: where the model that `fit` returned was taken: the least validation
        figure, or the last step without a `validate`.
    - `stopped_early`: whether `patience` ran out.
    """

    loss: Float[Array, " s"]
    gradient_norm: Float[Array, " s"]
    validation: tuple[tuple[int, float], ...]
    best_step: int
    stopped_early: bool


class Record(NamedTuple):
    """All numbers beside them."""

    step: int
    validation: tuple[tuple[int, float], ...]

    def best(self) -> tuple[int, float]:
        # The first of equal figures, so that a plateau counts as no improvement.
        return min(self.validation, key=lambda pair: pair[1])

    def stale(self) -> int:
        """Returns how many validations there have been since the best one."""
        if not self.validation:
            return 0
        steps = [step for step, _ in self.validation]
        return len(steps) - 1 - steps.index(self.best()[0])


def print_progress(progress: Progress) -> None:
    """Writes one plain line to stderr: what `fit` does by default."""
    line = f"step {progress.step}/{progress.steps}  loss {progress.loss:.5g}"
    if progress.validation is not None:
        line += f"  validation {progress.validation:.5g}  best {progress.best:.5g}"
    print(f"{line}  {progress.seconds:.1f} s", file=sys.stderr, flush=True)


def progress(
    losses: Float[Array, " s"],
    norms: Float[Array, " s"],
    record: Record,
    start: int,
    seconds: float,
) -> Progress:
    """Returns what there is to report of the steps from `start` on."""
    span = slice(start, record.step)
    loss, norm = float(jnp.mean(losses[span])), float(jnp.mean(norms[span]))
    figure = record.validation[-1][1] if record.validation else None
    best = record.best()[1] if record.validation else None
    steps = len(losses)
    return Progress(record.step, steps, loss, norm, figure, best, seconds)
