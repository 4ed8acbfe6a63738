"""model, loss, batches -> a trained model."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from ._batches import in_order, Supply
from ._check import check_integer
from ._checkpoints import Checkpoints
from ._devices import on_several_devices
from ._layout import lay_out, Layout, Placement
from ._save import Path
from ._training import (
    blank,
    carrying,
    check_finite_steps,
    History,
    print_progress,
    Progress,
    progress,
    Record,
    Stopped,
    Trained,
    Training,
)
from ._types import Key, Scalar


Model = TypeVar("Model", bound=PyTree)
Loss = Callable[..., Any]


def fit(
    model: Model,
    loss: Loss,
    batches: Supply,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    key: Key,
    carry: PyTree = None,
    project: Callable[[Model], Model] | None = None,
    mesh: Mesh | None = None,
    placement: Placement | None = None,
    validate: Callable[[Model], float | Scalar] | None = None,
    every: int = 100,
    patience: int | None = None,
    checkpoint: Path | None = None,
    keep: int = 2,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
    report: Callable[[Progress], None] | None = print_progress,
) -> tuple[Model, History]:
    """Trains a model by gradient descent.

    **Main arguments:**

    - `model`: any PyTree; its floating-point arrays are trained.
    - `loss`: `(model, batch, key) -> scalar`. In `jit`, traced once for all its trainings.
    - `batches`: `Batches`, or another function of the number of the step; or an iterable,
        begun again at its end if that is possible.
    - `optimizer`: from optax. It is given the loss as `value`, which
        `optax.contrib.reduce_on_plateau` needs.
    - `steps`: how many updates, at least 1.
    - `key`: step i gets `jax.random.fold_in(key, i)`.

    **Other arguments:**

    - `carry`: what the first step is handed, and every step hands on to the next one: then
        the loss is `(model, batch, key, carry) -> (scalar, carry)`, and no gradient flows
        from a step to the one before. Any PyTree, as the states of streams: see
        `Windows`. It is part of a checkpoint. By default nothing is handed on.
    - `project`: `model -> model`, of the same structure: what is done to the model after
        each update, in `jit`, as `RadiusBound(1.0)`. By default nothing.
    - `mesh`: devices to share each step, as `jax.make_mesh((8,), ("batch",))`: examples
        are split over its first axis, along the leading axis of every array of a batch and
        of the carry. Other axes are for `placement` and `SequenceParallelRoll`. The numbers
        are those of one device, to rounding. What a `loss` finds wrong with its values is
        then told as a loss of NaN. A mesh may span the processes of `jax.distributed`:
        all call `fit` alike, with the same model, key and batches, or with batches made by
        `jax.make_array_from_process_local_data`. By default one device does all.
    - `placement`: `(model, mesh) -> specs`: how the parameters are split, as
        `SplitRows("state")`, and with them the optimiser's moments. `specs` is a tree like
        `eqx.filter(model, eqx.is_array)`, of a `jax.sharding.PartitionSpec` for each array.
        By default all parameters are on all devices.
    - `validate`: `model -> figure`, the lower the better, called every `every` steps and at
        the end; the best model is returned. By default the last model is.
    - `every`: steps between reports, validations and checkpoints; by default 100.
    - `patience`: stop after so many validations without a new best one. By default never.
    - `checkpoint`: a folder for checkpoints. By default none are kept.
    - `keep`: how many of the latest checkpoints remain; by default 2.
    - `resume`: continue from the newest checkpoint of that folder, if there is one; by
        default a folder with checkpoints is an error. The
        numbers are those of a training that was never interrupted, provided that `batches`
        depends on the number of the step alone, or an iterable begins the same way. A
        checkpoint that is cut off or changed is removed with a `RuntimeWarning`, and the
        one before it taken, so `keep` should be 2 at least.
    - `stop`: asked before each step; at the first True the training writes a checkpoint and
        raises `Stopped`. For a signal that says that the machine will go. By default never.
    - `report`: called every `every` steps; by default prints a line. `None` is silent.

    **Returns:** the model, and the `History`.

    **Raises:** `FloatingPointError`, naming the step, when the loss or the gradient is not
    finite or `validate` gives NaN; checkpoints hold only what was finite. `ValueError`
    or `TypeError` for options that do not go together or are of another kind, when an
    iterator runs out, or a folder already holds checkpoints and `resume` is False, or holds
    none that can be read. `OSError` when a checkpoint cannot be written; the last one is
    then intact. `ImportError` for `checkpoint` without orbax-checkpoint. `Stopped` when
    `stop` says so.
    """
    call = "fit(model, loss, batches, optimizer, steps, key)"
    steps = check_integer(call, "steps", steps, 1)
    every = check_integer(call, "every", every, 1)
    keep = check_integer(call, "keep", keep, 1)
    if patience is not None:
        check_integer(call, "patience", patience, 1)
        if validate is None:
            raise ValueError(f"`{call}` needs `validate` to have patience={patience}.")
    if resume and checkpoint is None:
        raise ValueError(f"`{call}` needs `checkpoint` to resume from; got None.")
    if stop is not None and checkpoint is None:
        raise ValueError(f"`{call}` needs `checkpoint` to stop with; got None.")
    if placement is not None and mesh is None:
        raise ValueError(f"`{call}` needs a `mesh` to have a `placement` on; got None.")
    layout = None if mesh is None else lay_out(call, mesh, placement, model)
    if layout is not None:
        layout.check_whole(call, "a model", model)
        layout.check_agreed(call, "model, key and carry", (model, key, carry))
        # First the model, so that no device ever holds all moments.
        model = layout.placed(model)
    optimizer_state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    trained = Trained(model, optimizer_state, blank(steps), blank(steps), carry)
    place = (lambda training: training) if layout is None else layout.begun
    training, record = place(Training(trained, model)), Record(0, ())
    folder = None if checkpoint is None else Checkpoints(checkpoint, keep)
    loop = _Loop(
        call,
        loss,
        # What starts an optimizer is no part of a step, nor a reason to compile it anew.
        optimizer._replace(init=_begun),
        project,
        layout,
        key,
        validate,
        every,
        patience,
        folder,
        stop,
        report,
    )
    try:
        if folder is not None and folder.latest() is not None:
            training, record = _resume(call, folder, training, resume, place)
        supply = in_order(call, batches, record.step, steps)
        training, record = loop.run(training, record, supply)
    finally:
        if folder is not None:
            folder.close()
    done = slice(0, record.step)
    history = History(
        training.trained.losses[done],
        training.trained.norms[done],
        record.validation,
        record.step if validate is None else record.best()[0],
        record.step < steps,
    )
    return (training.trained.model if validate is None else training.best), history


class _Loop(NamedTuple):
    """What stays the same throughout a training."""

    call: str
    loss: Loss
    optimizer: optax.GradientTransformation
    project: Callable | None
    layout: Layout | None
    key: Key
    validate: Callable | None
    every: int
    patience: int | None
    folder: Checkpoints | None
    stop: Callable[[], bool] | None
    report: Callable[[Progress], None] | None

    def run(
        self, training: Training, record: Record, supply: Iterator[PyTree]
    ) -> tuple[Training, Record]:
        began, steps = time.monotonic(), len(training.trained.losses)
        while record.step < steps and not self._out_of_patience(record):
            # A training that was stopped in between reports as if it had not been.
            start = record.step - record.step % self.every
            trained, reached = self._advance(
                training.trained, record.step, min(steps, start + self.every), supply
            )
            if reached < min(steps, start + self.every):
                raise self._stopped(Training(trained, training.best), record, reached)
            record = self._judged(trained.model, record._replace(step=reached))
            newest = self.validate is not None and record.stale() == 0
            training = Training(trained, trained.model if newest else training.best)
            if self.report is not None:
                seconds = time.monotonic() - began
                self.report(progress(trained, record, start, seconds))
            self._keep(training, record)
        return training, record

    def _keep(self, training: Training, record: Record) -> None:
        if self.folder is not None:
            notes = record._asdict() | {"steps": len(training.trained.losses)}
            self.folder.save(record.step, training, notes)

    def _stopped(self, training: Training, record: Record, reached: int) -> Stopped:
        if reached > record.step:
            self._keep(training, record._replace(step=reached))
        return Stopped(
            f"`{self.call}` was asked to stop after step {reached}. `resume=True` goes on "
            "from there.",
            reached,
        )

    def _advance(
        self, trained: Trained, start: int, stop: int, supply: Iterator[PyTree]
    ) -> tuple[Trained, int]:
        """Returns what is trained, and the step that it was trained to."""
        fixed = self.loss, self.optimizer, self.project, self.layout
        update = functools.partial(_update, *fixed)
        reached = start
        while reached < stop and not (self.stop is not None and self.stop()):
            batch = next(supply)
            if self.layout is not None:
                given = batch, trained, reached == start
                batch, trained = self.layout.shared(self.call, *given)
            try:
                trained = update(trained, batch, self.key, jnp.asarray(reached))
            except eqx.EquinoxRuntimeError as error:
                # Around the reason lie a stack and hints, which the cause still shows.
                _, _, reason = str(error).rpartition("EquinoxRuntimeError: ")
                raise FloatingPointError(
                    f"`{self.call}` stopped at step {reached}: {reason.splitlines()[0]}"
                ) from error
            reached += 1
        check_finite_steps(self.call, trained, start, reached)
        return trained, reached

    def _judged(self, model: PyTree, record: Record) -> Record:
        if self.validate is None:
            return record
        figure = float(self.validate(model))
        if math.isnan(figure):
            raise FloatingPointError(
                f"`{self.call}` stopped at step {record.step}: `validate` gave NaN."
            )
        return record._replace(validation=(*record.validation, (record.step, figure)))

    def _out_of_patience(self, record: Record) -> bool:
        return self.patience is not None and record.stale() >= self.patience


def _begun(params: PyTree) -> PyTree:
    raise NotImplementedError("The state of this optimizer is begun already.")


@eqx.filter_jit
def _update(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    project: Callable | None,
    layout: Layout | None,
    trained: Trained,
    batch: PyTree,
    key: Key,
    step: Array,
) -> Trained:
    """Compiled once for all trainings of the same loss, optimizer's update and shapes."""
    model = trained.model
    key = jr.fold_in(key, step)
    losing = eqx.filter_value_and_grad(carrying, has_aux=True)
    with contextlib.nullcontext() if layout is None else on_several_devices():
        (value, carry), gradient = losing(model, loss, batch, key, trained.carry)
    if layout is not None:
        gradient = layout.placed(gradient)
    changes, optimizer_state = optax.with_extra_args_support(optimizer).update(
        gradient,
        trained.optimizer_state,
        eqx.filter(model, eqx.is_inexact_array),
        value=value,
    )
    norm = optax.tree.norm(gradient)
    model = eqx.apply_updates(model, changes)
    model = model if project is None else project(model)
    if layout is not None:
        model, optimizer_state = layout.placed((model, optimizer_state))
    return Trained(
        model,
        optimizer_state,
        trained.losses.at[step].set(value.astype(trained.losses.dtype)),
        trained.norms.at[step].set(norm.astype(trained.norms.dtype)),
        carry,
    )


def _resume(
    call: str,
    folder: Checkpoints,
    training: Training,
    resume: bool,
    place: Callable[[Training], Training],
) -> tuple[Training, Record]:
    if not resume:
        raise ValueError(
            f"`{call}` found checkpoints in {folder.folder}. Give `resume=True` to go on "
            "from them, or another folder."
        )
    steps = len(training.trained.losses)

    def curves(training, change):
        def where(training):
            return training.trained.losses, training.trained.norms

        return eqx.tree_at(where, training, [change(c) for c in where(training)])

    training, notes = folder.restore(
        lambda notes: place(curves(training, lambda _: blank(notes["steps"])))
    )
    if notes["step"] > steps:
        raise ValueError(
            f"`{call}` needs `steps` of at least the {notes['step']} that the checkpoint "
            f"in {folder.folder} has done; got steps={steps}."
        )
    # A training may be resumed with more steps than it was begun with.
    training = curves(
        training,
        lambda curve: jnp.append(curve[: notes["step"]], blank(steps))[:steps],
    )
    validation = tuple((step, figure) for step, figure in notes["validation"])
    return place(training), Record(notes["step"], validation)
