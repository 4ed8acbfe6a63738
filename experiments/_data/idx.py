"""An IDX file, plain or in gzip -> its array of bytes.

Two zero bytes, the type of the numbers, how many axes, the length of each in four bytes,
and the numbers; http://yann.lecun.com/exdb/mnist.
"""

import math
import pathlib
import struct

import numpy as np
from jaxtyping import UInt8

from .raw import read_bytes


BYTES = 0x08
FORMAT = "Give an IDX file of bytes, as train-images-idx3-ubyte or the same in gzip."


def read_idx(path: pathlib.Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Returns the array of a file, which has this many axes, none of them empty.

    **Raises:** `ValueError`, naming the file, for what is no such file, and for one with
    fewer or more numbers than its head says.
    """
    text = read_bytes(path)
    start = 4 + 4 * axes
    head = bytes((0, 0, BYTES, axes))
    if text[:4] != head or len(text) < start:
        raise ValueError(
            f"`{path}` needs to begin with {head.hex(' ')} and {axes} lengths; got "
            f"{text[:4].hex(' ') or 'nothing'} and {max(0, len(text) - 4)} more bytes. "
            f"{FORMAT}"
        )
    shape = struct.unpack_from(f">{axes}I", text, 4)
    if 0 in shape or math.prod(shape) != len(text) - start:
        raise ValueError(
            f"`{path}` needs the {' x '.join(map(str, shape))} bytes that its head says, "
            f"and more than none; got {len(text) - start}. It may be cut off: get it again."
        )
    return np.frombuffer(text, np.uint8, offset=start).reshape(shape)
