"""An `.npz` file -> its arrays. Nothing in it is ever unpickled or written to disk."""

import lzma
import pathlib
import struct
import tokenize
import warnings
import zipfile
import zlib

import numpy as np


# What numpy and the zip reader raise on bytes that are not what they should be.
BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
)


def names_of_arrays(path: pathlib.Path) -> list[str]:
    """Returns the names of the arrays in a file.

    **Raises:** `ValueError` for what is no archive of arrays.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return list(file.files)
    except BROKEN as error:
        raise _unreadable(path, "arrays", error) from error


def read_arrays(path: pathlib.Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """Returns the arrays of these names.

    **Raises:** `ValueError` for a file without them, or with what only unpickling reads.
    """
    named = f"the array{'s' if len(keys) > 1 else ''} {', '.join(keys)}"
    try:
        with (
            warnings.catch_warnings(),
            path.open("rb") as stream,
            np.load(stream, allow_pickle=False) as file,
        ):
            # Of headers in the way of Python 2: an error is what is wrong with them.
            warnings.simplefilter("error")
            return [file[key] for key in keys]
    except BROKEN as error:
        raise _unreadable(path, named, error) from error


def finite_numbers(path: pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    """Returns an array in double precision.

    **Raises:** `ValueError` for other than real numbers, and for the first one that is not
    finite.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"`{path}` needs real numbers in {key}; got the type {array.dtype}. Save it as "
            "float32 or float64."
        )
    with np.errstate(over="ignore"):
        values = array.astype(np.float64)
    flat = values.ravel()
    if len(bad := np.flatnonzero(~np.isfinite(flat))):
        place = ", ".join(map(str, np.unravel_index(bad[0], values.shape)))
        raise ValueError(
            f"`{path}` needs finite numbers; got {flat[bad[0]]} in {key}[{place}]. Fill in "
            "what is missing first."
        )
    return values


def _unreadable(path: pathlib.Path, named: str, error: BaseException) -> ValueError:
    reason = str(error).strip() or type(error).__name__
    return ValueError(
        f"`{path}` needs {named}: {reason}. Write them with `numpy.savez`, as arrays of "
        "numbers or of text."
    )
