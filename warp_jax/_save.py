"""model <-> file, and training <-> checkpoints. Nothing here reads or writes a pickle."""

import json
import os
import pathlib
import tempfile
from importlib.metadata import version
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
from jaxtyping import PyTree


Path = str | os.PathLike
Tree = TypeVar("Tree")
FORMAT = "warp_jax model 1"


def _is_data(leaf: Any) -> bool:
    return eqx.is_array_like(leaf)


def _describe(tree: PyTree) -> list[dict]:
    """Returns the place, shape and dtype of every leaf that is saved."""
    leaves = jtu.tree_leaves_with_path(eqx.filter(tree, _is_data))
    return [
        {
            "leaf": jtu.keystr(path),
            "shape": list(jnp.shape(leaf)),
            "dtype": str(getattr(leaf, "dtype", type(leaf).__name__)),
        }
        for path, leaf in leaves
    ]


def _is_key(leaf: Any) -> bool:
    return eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _with_key_data(tree: Tree) -> Tree:
    """Replaces typed random keys, which no file format knows, by their numbers."""
    return jax.tree.map(lambda leaf: jr.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _with_keys(tree: Tree, like: Tree) -> Tree:
    """Makes random keys of the numbers that stand where `like` has keys."""

    def wrap(leaf, old):
        return jr.wrap_key_data(leaf, impl=jr.key_impl(old)) if _is_key(old) else leaf

    return jax.tree.map(wrap, tree, like)


def save(path: Path, model: PyTree) -> None:
    """Writes a model's arrays and numbers to one file, whole or not at all.

    The file is a line of JSON, which says what each leaf is, and then the leaves. Functions
    and static fields are not written: `load` takes them from a model built by the same
    code.

    **Arguments:**

    - `path`: the file; an existing one is replaced at the end, in one move.
    - `model`: any PyTree, such as a `WARP`, or a tuple of a model and a state.

    **Raises:** `OSError` where the file cannot be written; the old one is then intact.
    """
    path = pathlib.Path(path)
    tree = _with_key_data(model)
    header = {
        "format": FORMAT,
        "version": version("warp_jax"),
        "leaves": _describe(tree),
    }
    try:
        file = tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        )
        try:
            with file:
                file.write(json.dumps(header).encode() + b"\n")
                eqx.tree_serialise_leaves(file, eqx.filter(tree, _is_data))
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"`save(path, model)` could not write: {error.strerror}; choose another "
            "path, or free it",
            str(path),
        ) from error


def load(path: Path, like: Tree) -> Tree:
    """Reads what `save` wrote.

    **Arguments:**

    - `path`: the file.
    - `like`: a model of the same structure, built by the same code with any key. Its
        arrays' shapes and dtypes must be the file's; their values do not matter.

    **Returns:** `like`, with the values of the file.

    **Raises:** `OSError` where the file cannot be read, `ValueError` where it was not
    written by `save`, is cut off, or holds another model.
    """
    call = "load(path, like)"
    path = pathlib.Path(path)
    tree = _with_key_data(like)
    with open(path, "rb") as file:
        try:
            header = json.loads(file.readline(2**26))
            written = header["leaves"] if header["format"] == FORMAT else None
        except (ValueError, KeyError, TypeError):
            written = None
        if written is None:
            raise ValueError(f"`{call}` got a file that `save` did not write: {path}.")
        _compare(call, path, written, _describe(tree))
        data, rest = eqx.partition(tree, _is_data)
        try:
            data = eqx.tree_deserialise_leaves(file, data)
        except Exception as error:
            raise ValueError(f"`{call}` got a file that is cut off: {path}.") from error
    return _with_keys(eqx.combine(data, rest), like)


def _compare(call: str, path, written: list[dict], wanted: list[dict]) -> None:
    for theirs, ours in zip(written, wanted):
        if theirs != ours:
            raise ValueError(
                f"`{call}` needs `like` to be built as the model in {path}; that holds "
                f"{theirs}, and `like` {ours}."
            )
    if len(written) != len(wanted):
        raise ValueError(
            f"`{call}` needs `like` to be built as the model in {path}; that holds "
            f"{len(written)} leaves, and `like` {len(wanted)}."
        )


class Checkpoints:
    """A folder of the latest checkpoints of a training, each whole or not there at all.

    Written by orbax-checkpoint, which is asked for when the first one is made, so that only
    those who keep checkpoints need it.
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
        """Writes the arrays of `tree`, and `notes`, which must be JSON."""
        arrays = _numbered(_with_key_data(tree))
        notes = {"leaves": _describe(_with_key_data(tree)), **notes}
        ocp = self._ocp
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays), notes=ocp.args.JsonSave(notes)
            ),
        )

    def notes(self) -> dict:
        """Returns the notes of the newest checkpoint.

        **Raises:** `ValueError` where it is unreadable.
        """
        ocp = self._ocp
        args = ocp.args.Composite(notes=ocp.args.JsonRestore())
        return self._read(args)["notes"]

    def restore(self, like: Tree) -> Tree:
        """Returns the tree of the newest checkpoint, in the structure of `like`.

        **Raises:** `ValueError` where it is another model's, or unreadable.
        """
        ocp = self._ocp
        tree = _with_key_data(like)
        call = "fit(..., checkpoint, resume=True)"
        _compare(call, self._newest(), self.notes()["leaves"], _describe(tree))
        args = ocp.args.StandardRestore(_numbered(tree))
        arrays = self._read(ocp.args.Composite(state=args))["state"]
        data, rest = eqx.partition(tree, eqx.is_array)
        leaves = [arrays[name] for name in sorted(arrays)]
        data = jax.tree.unflatten(jax.tree.structure(data), leaves)
        return _with_keys(eqx.combine(data, rest), like)

    def _newest(self) -> pathlib.Path:
        return self.folder / str(self.latest())

    def _read(self, args):
        try:
            return self._manager.restore(self.latest(), args=args)
        except Exception as error:
            raise ValueError(
                "`fit(..., checkpoint, resume=True)` cannot read the checkpoint "
                f"{self._newest()}: {error}. Remove that folder to go on from the one "
                "before it."
            ) from error

    def close(self) -> None:
        """Waits for what is under way."""
        self._manager.close()


def _numbered(tree: PyTree) -> dict[str, jax.Array]:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return {f"{i:06d}": leaf for i, leaf in enumerate(leaves)}
