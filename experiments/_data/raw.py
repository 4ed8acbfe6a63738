"""A file, plain or in gzip -> its bytes."""

import gzip
import pathlib
import struct
import zlib


def read_bytes(path: pathlib.Path) -> bytes:
    """Returns what a file holds, once out of gzip where it is in it.

    **Raises:** `ValueError` where that cannot be read.
    """
    try:
        text = path.read_bytes()
        return gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ValueError(
            f"`{path}` cannot be read: {error}. Get it again, plain or in gzip."
        ) from error
