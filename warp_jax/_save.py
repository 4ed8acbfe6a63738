"""model <-> file. Nothing here reads or writes a pickle."""

import hashlib
import json
import os
import pathlib
import tempfile
from importlib.metadata import version
from typing import Any, IO, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
from jaxtyping import PyTree


Path = str | os.PathLike
Tree = TypeVar("Tree")
# Of a file: a line of JSON, the leaves, and the SHA-256 of all before it.
FORMAT = "warp_jax model 2"
DIGEST = hashlib.sha256().digest_size


def is_data(leaf: Any) -> bool:
    return eqx.is_array_like(leaf)


def is_whole(array: Any) -> bool:
    """Whether this process has all of an array, which may be NumPy's."""
    if not isinstance(array, jax.Array):
        return True
    return array.is_fully_addressable or array.is_fully_replicated


def describe(tree: PyTree) -> list[dict]:
    """Returns the place, shape and dtype of every leaf that is saved."""
    leaves = jtu.tree_leaves_with_path(eqx.filter(tree, is_data))
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


def with_key_data(tree: Tree) -> Tree:
    """Replaces typed random keys, which no file format knows, by their numbers."""
    return jax.tree.map(lambda leaf: jr.key_data(leaf) if _is_key(leaf) else leaf, tree)


def with_keys(tree: Tree, like: Tree) -> Tree:
    """Makes random keys of the numbers that stand where `like` has keys."""

    def wrap(leaf, old):
        return jr.wrap_key_data(leaf, impl=jr.key_impl(old)) if _is_key(old) else leaf

    return jax.tree.map(wrap, tree, like)


def save(path: Path, model: PyTree) -> None:
    """Writes a model's arrays and numbers to one file, whole or not at all.

    The file is a line of JSON, which says what each leaf is, the leaves, and a checksum of
    all that. Functions and static fields are not written: `load` takes them from a model
    built by the same code.

    **Arguments:**

    - `path`: the file; an existing one is replaced at the end, in one move.
    - `model`: any PyTree, such as a `WARP`, or a tuple of a model and a state.

    **Raises:** `OSError` where the file cannot be written, with its size; the old one is
    then intact. `ValueError` for an array split over several processes. `TypeError` for
    an array of Python objects, which only a pickle could hold.
    """
    call = "save(path, model)"
    path = pathlib.Path(path)
    tree = with_key_data(model)
    leaves = describe(tree)
    for leaf in leaves:
        if leaf["dtype"] == "object":
            raise TypeError(
                f"`{call}` needs arrays of numbers; got one of Python objects at "
                f"{leaf['leaf']}. Make it static, or store what it says as numbers."
            )
    for place, leaf in jtu.tree_leaves_with_path(eqx.filter(tree, eqx.is_array)):
        if not is_whole(leaf):
            raise ValueError(
                f"`{call}` needs all of every array in this process; got "
                f"{jtu.keystr(place)} split over several. Gather it by `eqx.filter_shard("
                "model, NamedSharding(mesh, PartitionSpec()))` in each, or keep "
                "checkpoints, which each writes its part of: `fit(..., checkpoint)`."
            )
    header = {"format": FORMAT, "version": version("warp_jax"), "leaves": leaves}
    try:
        file = tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".new", delete=False
        )
        try:
            with file:
                file.write(json.dumps(header).encode() + b"\n")
                eqx.tree_serialise_leaves(file, eqx.filter(tree, is_data))
                file.write(_digest(file, file.tell()))
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"`{call}` could not write {size_of(tree)}: {error.strerror}; choose another "
            "path, or free it",
            str(path),
        ) from error


def load(path: Path, like: Tree) -> Tree:
    """Reads what `save` wrote. Nothing in the file is ever run, whoever wrote it.

    **Arguments:**

    - `path`: the file.
    - `like`: a model of the same structure, built by the same code with any key. Its
        arrays' shapes and dtypes must be the file's; their values do not matter. What is
        split over devices there is split so in what is returned.

    **Returns:** `like`, with the values of the file.

    **Raises:** `OSError` where the file cannot be read, `ValueError` where it was not
    written by `save`, is cut off or changed in any byte, or holds another model.
    """
    call = "load(path, like)"
    path = pathlib.Path(path)
    tree = with_key_data(like)
    with open(path, "rb") as file:
        written = _leaves(call, path, file)
        begin = file.tell()
        if not _intact(file):
            raise ValueError(
                f"`{call}` got a file that is cut off or changed: {path}. Take it from a "
                "copy, or save the model anew."
            )
        file.seek(begin)
        compare(call, path, written, describe(tree))
        held, rest = eqx.partition(tree, is_data)
        try:
            data = eqx.tree_deserialise_leaves(file, held)
            if len(file.read(DIGEST + 1)) != DIGEST:
                raise ValueError("more follows the leaves")
        except Exception as error:
            # The checksum is right: the file was made to be so.
            raise ValueError(
                f"`{call}` got a file whose leaves are not what its first line says: "
                f"{path}."
            ) from error
    data = jax.tree.map(_beside, data, held)
    return with_keys(eqx.combine(data, rest), like)


def _beside(leaf: Any, like: Any) -> Any:
    """Returns a leaf where that of `like` lies, if it was put there."""
    placed = isinstance(like, jax.Array) and like.committed
    return jax.device_put(leaf, like.sharding) if placed else leaf


def _leaves(call: str, path: pathlib.Path, file: IO[bytes]) -> list:
    """Returns what the first line says of the leaves."""
    try:
        header = json.loads(file.readline(2**26))
        form, written = str(header["format"]), header["leaves"]
    except (ValueError, KeyError, TypeError, RecursionError):
        form, written = "", None
    if form != FORMAT or not isinstance(written, list):
        known = form.startswith(FORMAT[:-1])
        why = (
            f"; it is {form[:40]!r}, and this version reads {FORMAT!r}" if known else ""
        )
        raise ValueError(f"`{call}` got a file that `save` did not write: {path}{why}.")
    return written


def _intact(file: IO[bytes]) -> bool:
    """Whether the file ends with the checksum of what is before it."""
    size = file.seek(0, os.SEEK_END) - DIGEST
    return size > 0 and _digest(file, size) == file.read()


def _digest(file: IO[bytes], size: int) -> bytes:
    """Returns the checksum of the first bytes of a file, and leaves it behind them."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (piece := file.read(min(size, 2**20))):
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


def size_of(tree: PyTree) -> str:
    """Returns about how much room the arrays of a tree take."""
    arrays = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return f"about {sum(leaf.nbytes for leaf in arrays) / 2**20:.3g} MiB"


def compare(call: str, path, written: list[dict], wanted: list[dict]) -> None:
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
