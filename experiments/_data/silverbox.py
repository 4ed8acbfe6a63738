"""Silverbox: a measured electronic circuit that acts as a Duffing oscillator, a driven
mass on a hardening spring.

Wigren and Schoukens 2013, European Control Conference; https://www.nonlinearbenchmark.org.
Free for research; cite them.
"""

import pathlib
import zipfile

import numpy as np

from .dataset import Dataset, Split, unlabelled


FILE = "sysid_measured.npz"
KEYS = "silverbox_u", "silverbox_y"
SAMPLES = 131_072
ARROW, MULTISINE = slice(100, 40_575), slice(40_650, 127_400)
# Samples of a sequence that only initialise a model.
CONTEXT = 50
LENGTH, STRIDE = 250, 100
PIECES = 32
MILLI = 1000


def load_silverbox(folder: pathlib.Path) -> Dataset:
    """Returns voltages, `(example, time, 2)`, each with mean 0 and deviation 1 over the
    training part: the output, and beside it the input of the next sample, which is known
    when that sample's output is predicted. `scale` is in millivolts.

    Of the multisine the first three quarters are for training, as windows of 250 samples,
    one every 100; the rest, in 32 pieces, is for validation. The test set is the arrow, one
    sequence whose amplitude grows beyond that of the training. `in_range` is the arrow
    until the output first does so.

    - `folder`: holds `sysid_measured.npz` with the arrays `silverbox_u` and `silverbox_y`
        of 131 072 samples in volts.

    **Raises:** `ValueError` for a file that is not there, or is another one.
    """
    volts = _read(folder / FILE)
    multisine, arrow = volts[MULTISINE], volts[ARROW]
    cut = len(multisine) * 3 // 4
    fitted, kept = multisine[:cut], multisine[cut:]
    mean, std = fitted.mean(0), fitted.std(0)
    beyond = np.abs(arrow[:, 0]) > np.abs(fitted[:, 0]).max()
    inside = int(np.argmax(beyond)) if beyond.any() else len(arrow)

    def part(sequences: np.ndarray) -> Split:
        return unlabelled((sequences - mean) / std)

    starts = range(0, cut - LENGTH + 1, STRIDE)
    size = len(kept) // PIECES
    return Dataset(
        "silverbox",
        part(np.stack([fitted[i : i + LENGTH] for i in starts])),
        part(kept[: PIECES * size].reshape(PIECES, size, 2)),
        part(arrow[None]),
        in_range=part(arrow[None, :inside]),
        scale=MILLI * std,
    )


def _read(path: pathlib.Path) -> np.ndarray:
    """Returns each output and the input after it, `(samples - 1, 2)`."""
    if not path.is_file():
        raise ValueError(
            f"`{path}` is missing. Get Silverbox from https://www.nonlinearbenchmark.org, "
            "save its input and output as silverbox_u and silverbox_y in this file with "
            "`numpy.savez`, or give the folder that has it as `--data DIR`."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            u, y = (file[key].astype(np.float64) for key in KEYS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`{path}` needs the arrays {' and '.join(KEYS)}: {error}."
        ) from error
    if u.shape != (SAMPLES,) or y.shape != (SAMPLES,):
        raise ValueError(
            f"`{path}` needs {SAMPLES} samples each of {' and '.join(KEYS)}; got shapes "
            f"{u.shape} and {y.shape}."
        )
    return np.stack([y[:-1], u[1:]], axis=-1)
