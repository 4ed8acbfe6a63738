"""Half-cheetah: a simulated runner's joints and speeds, without its motors' commands.

31 traces of MuJoCo's HalfCheetah under a controller, from the code of liquid time-constant
networks (Hasani et al. 2021, arXiv 2006.04439), licence Apache 2.0.
"""

import hashlib
import io
import pathlib

import numpy as np
from jaxtyping import Float

from .._folder import write
from .arrays import finite_numbers, read_arrays
from .dataset import Dataset, Split, unlabelled
from .download import Fetcher


FILE = "half_cheetah_traces.npz"
COMMIT = "4a8a4fa22a91c4067b6944a264819ff30a4aae9d"
URL = (
    "https://raw.githubusercontent.com/raminmh/liquid_time_constant_networks/"
    f"{COMMIT}/experiments_with_ltcs/data/cheetah/"
)
SHAPE = (31, 1000, 17)
# Of the traces' numbers in single precision.
SHA256 = "54035d56b6853a8b6acf0c41c6f433a5192bf668025dc847c64d04e9026315d8"
VALIDATION, TEST, TRAIN = slice(0, 5), slice(5, 15), slice(15, 25)
LENGTH = 64


def load_cheetah(folder: pathlib.Path) -> Dataset:
    """Returns windows of the traces, `(example, 64, 17)`, standardised by the training
    part: traces 15 to 24, a window every 8 steps. Traces 0 to 4 are for validation and 5 to
    14 for the test, as in the code they come from, a window every 32 steps.

    - `folder`: holds `half_cheetah_traces.npz` with the array `traces`, `(31, 1000, 17)`.
        Where it does not, the traces are downloaded and the file is written.

    **Raises:** `ValueError` for a file that cannot be had, or is another one.
    """
    traces = _read(folder / FILE) if (folder / FILE).is_file() else _download(folder)
    train = traces[TRAIN].astype(np.float64)
    mean, scale = train.mean((0, 1)), train.std((0, 1))

    def windows(which: slice, stride: int) -> Split:
        xs = (traces[which] - mean) / scale
        starts = range(0, xs.shape[1] - LENGTH + 1, stride)
        return unlabelled(np.concatenate([xs[:, i : i + LENGTH] for i in starts]))

    parts = windows(TRAIN, 8), windows(VALIDATION, 32), windows(TEST, 32)
    return Dataset("cheetah", *parts, scale=scale)


def _read(path: pathlib.Path) -> Float[np.ndarray, "31 1000 17"]:
    (traces,) = read_arrays(path, ("traces",))
    return _checked(finite_numbers(path, "traces", traces), str(path))


def _download(folder: pathlib.Path) -> Float[np.ndarray, "31 1000 17"]:
    names = [f"trace_{i:04}.npy" for i in range(SHAPE[0])]
    parts = folder / "half_cheetah"
    try:
        fetcher = Fetcher(parts, URL, dict.fromkeys(names))
        files = [np.load(fetcher.fetch(name), allow_pickle=False) for name in names]
        traces = _checked(np.stack(files), URL)
        stream = io.BytesIO()
        np.savez(stream, traces=traces)
        write(folder / FILE, stream.getvalue())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`{FILE}` is not in {folder}, and {URL} cannot be used: {error}. Put the file "
            "there by hand, or give the folder that has it as `--data DIR`."
        ) from error
    finally:
        # Whatever is wrong with a part, the next attempt begins anew.
        for name in names:
            (parts / name).unlink(missing_ok=True)
    return traces


def _checked(traces: np.ndarray, where: str) -> Float[np.ndarray, "31 1000 17"]:
    traces = traces.astype(np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(traces).tobytes()).hexdigest()
    if traces.shape != SHAPE or digest != SHA256:
        raise ValueError(
            f"`{where}` needs the traces of shape {SHAPE} with checksum {SHA256[:12]}...; "
            f"got shape {traces.shape} with checksum {digest[:12]}...."
        )
    return traces
