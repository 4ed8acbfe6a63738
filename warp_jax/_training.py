"""What a training is made of: its arrays, the numbers beside them, and what it reports."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._types import Key, Scalar


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


class Stopped(Exception):
    """A training stopped because its `stop` said so, after a checkpoint of step `step`.

    - `step`: how many steps are done.
    """

    def __init__(self, message: str, step: int):
        """**Arguments:**

        - `message`: what is printed.
        - `step`: how many steps are done.
        """
        super().__init__(message)
        self.step = step


class Trained(eqx.Module):
    """The arrays that every step changes."""

    model: PyTree
    optimizer_state: PyTree
    losses: Float[Array, " s"]
    norms: Float[Array, " s"]
    carry: PyTree


class Training(eqx.Module):
    """All arrays of a training: what a checkpoint holds."""

    trained: Trained
    best: PyTree


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


def blank(steps: int) -> Float[Array, " s"]:
    """Returns a curve that nothing is known of."""
    return jnp.full(steps, jnp.nan)


def progress(trained: Trained, record: Record, start: int, seconds: float) -> Progress:
    """Returns the report of the steps since `start`."""
    span = slice(start, record.step)
    loss, norm = (float(jnp.mean(a[span])) for a in (trained.losses, trained.norms))
    figure = record.validation[-1][1] if record.validation else None
    best = record.best()[1] if record.validation else None
    steps = len(trained.losses)
    return Progress(record.step, steps, loss, norm, figure, best, seconds)


def print_progress(progress: Progress) -> None:
    """Writes one plain line to stderr: what `fit` does by default.

    **Arguments:**

    - `progress`: what there is to say.
    """
    line = f"step {progress.step}/{progress.steps}  loss {progress.loss:.5g}"
    if progress.validation is not None:
        line += f"  validation {progress.validation:.5g}  best {progress.best:.5g}"
    print(f"{line}  {progress.seconds:.1f} s", file=sys.stderr, flush=True)


def carrying(
    model: PyTree, loss: Callable, batch: PyTree, key: Key, carry: PyTree
) -> tuple[Scalar, PyTree]:
    """Returns the loss and what is handed on, nothing where nothing is."""
    if carry is None:
        return loss(model, batch, key), None
    result = loss(model, batch, key, carry)
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            "`fit(..., carry)` needs a loss `(model, batch, key, carry) -> (scalar, carry)`"
            f"; got {result!r:.80} from it."
        )
    shapes = jax.eval_shape(lambda: (carry, result[1]))
    if not eqx.tree_equal(*shapes):
        raise TypeError(
            "`fit(..., carry)` needs a loss that returns a carry like the one it is given, "
            f"{shapes[0]}; got {shapes[1]}."
        )
    return result


def check_finite_steps(call: str, trained: Trained, start: int, stop: int) -> None:
    """Raises where the steps from `start` to `stop` were not finite, naming the first."""
    finite = jnp.isfinite(trained.losses) & jnp.isfinite(trained.norms)
    bad = ~finite[start:stop]
    if jnp.any(bad):
        step = start + int(jnp.argmax(bad))
        raise FloatingPointError(
            f"`{call}` stopped at step {step}: the loss was {trained.losses[step]} and "
            f"the gradient's norm {trained.norms[step]}. Lower the learning rate, clip "
            "the gradient (`optax.clip_by_global_norm`), or skip such steps "
            "(`optax.apply_if_finite`)."
        )
