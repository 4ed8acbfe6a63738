"""training <-> a folder of checkpoints. Nothing here reads or writes a pickle."""

import errno
import json
import os
import pathlib
import re
import shutil
import warnings
import zlib
from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
from jaxtyping import PyTree

from ._save import (
    compare,
    describe,
    is_whole,
    Path,
    size_of,
    with_key_data,
    with_keys,
)


Tree = TypeVar("Tree")


class _Unreadable(Exception):
    """A checkpoint that is cut off, changed or gone."""


class Checkpoints:
    """A folder of the latest checkpoints of a training, each whole or not there at all.

    Written by orbax-checkpoint, which is asked for when the first one is made, so that only
    those who keep checkpoints need it. Beside what orbax writes stand checksums of all
    arrays and notes.
    """

    def __init__(self, folder: Path, keep: int):
        try:
            import orbax.checkpoint as ocp
        except ImportError as error:
            raise ImportError(
                "Checkpoints need orbax-checkpoint. Install it: "
                "`pip install orbax-checkpoint`, or `pip install 'warp_jax[experiments]'`."
            ) from error
        self._ocp = ocp
        self.folder = pathlib.Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self.folder, options=options)
            # One who was killed between a write and what it makes superfluous.
            for step in sorted(self._manager.all_steps())[:-keep]:
                self._manager.delete(step)
        except OSError as error:
            raise OSError(
                error.errno,
                f"`fit(checkpoint=...)` could not write: {error.strerror}",
                str(folder),
            ) from error

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint, or `None` where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, tree: PyTree, notes: dict) -> None:
        """Writes the arrays of `tree`, and `notes`, which must be JSON.

        **Raises:** `OSError`, naming the folder and what is needed, where they cannot be
        written; those before are then intact.
        """
        tree = with_key_data(tree)
        arrays = _numbered(tree)
        sums = [_checksum(array) for array in arrays.values()]
        notes = {"leaves": describe(tree), "arrays": sums, **notes}
        ocp = self._ocp
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    notes=ocp.args.JsonSave({**notes, "notes": _of_notes(notes)}),
                ),
            )
        except Exception as error:
            for left in self.folder.glob(f"{step}.*"):
                shutil.rmtree(left, ignore_errors=True)
            if (number := _system_error(error)) is None:
                raise
            raise OSError(
                number,
                f"`fit(checkpoint=...)` could not write the checkpoint of step {step}, "
                f"{size_of(tree)}: {os.strerror(number)}. The one before is intact; once "
                "there is room, `resume=True` goes on from it",
                str(self.folder),
            ) from error

    def restore(self, like: Callable[[dict], Tree]) -> tuple[Tree, dict]:
        """Returns the tree and the notes of the newest checkpoint that can be read. Newer
        ones, which cannot, are told of by a warning, and removed.

        - `like`: `notes -> tree`, of the structure that is wanted.

        **Raises:** `ValueError` where it is another model's, or none can be read.
        """
        broken: list[tuple[int, _Unreadable]] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._read(step, like)
            except _Unreadable as error:
                broken.append((step, error))
                continue
            for bad, error in broken:
                warnings.warn(
                    f"The checkpoint {self.folder / str(bad)} cannot be read: {error}. "
                    f"It is removed, and the training goes on from step {step}.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                self._manager.delete(bad)
            return found
        step, error = broken[0]
        raise ValueError(
            "`fit(..., checkpoint, resume=True)` cannot read any checkpoint in "
            f"{self.folder}, the newest, of step {step}, because of: {error}. Remove the "
            "folder to begin anew."
        ) from error

    def _read(self, step: int, like: Callable[[dict], Tree]) -> tuple[Tree, dict]:
        ocp = self._ocp
        notes = self._part(step, notes=ocp.args.JsonRestore())
        if notes.pop("notes", None) != _of_notes(notes):
            raise _Unreadable("its notes have another checksum")
        tree = with_key_data(like(notes))
        call = "fit(..., checkpoint, resume=True)"
        compare(call, self.folder / str(step), notes["leaves"], describe(tree))
        arrays = self._part(step, state=ocp.args.StandardRestore(_numbered(tree)))
        for name, written in zip(sorted(arrays), notes["arrays"]):
            read = _checksum(arrays[name])
            if None not in (read, written) and read != written:
                raise _Unreadable(f"its array {int(name)} has another checksum")
        data, rest = eqx.partition(tree, eqx.is_array)
        leaves = [arrays[name] for name in sorted(arrays)]
        data = jax.tree.unflatten(jax.tree.structure(data), leaves)
        return with_keys(eqx.combine(data, rest), like(notes)), notes

    def _part(self, step: int, **args) -> dict:
        try:
            composite = self._ocp.args.Composite(**args)
            (found,) = self._manager.restore(step, args=composite).values()
            return dict(found)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise _Unreadable(lines[0][:300].rstrip(".")) from error

    def close(self) -> None:
        """Waits for what is under way."""
        self._manager.close()


def _numbered(tree: PyTree) -> dict[str, jax.Array]:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return {f"{i:06d}": leaf for i, leaf in enumerate(leaves)}


def _checksum(array: jax.Array) -> int | None:
    """Returns the CRC-32 of an array, or `None` of one that this process has parts of."""
    if not is_whole(array):
        return None
    return zlib.crc32(jax.device_get(array).tobytes())


def _of_notes(notes: dict) -> int:
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())


def _system_error(error: BaseException) -> int | None:
    """Returns the system's number of what went wrong in writing, if that is what did."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if told := re.search(r"os_error_code='(\d+)'", str(error)):
        return int(told[1])
    return errno.ENOSPC if "RESOURCE_EXHAUSTED" in str(error) else None
