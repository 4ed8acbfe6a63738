"""Silverbox: a measured electronic circuit that acts as a Duffing oscillator, a driven
mass on a hardening spring.

Wigren and Schoukens 2013, European Control Conference; https://www.nonlinearbenchmark.org.
Free for research; cite them.
"""

import pathlib

import numpy as np

from .arrays import finite_numbers, read_arrays
from .dataset import Dataset, Split, unlabelled
from .irregular import REACH, Sampling, windows
from .made import stream


FILE = "sysid_measured.npz"
KEYS = "silverbox_u", "silverbox_y"
SAMPLES = 131_072
ARROW, MULTISINE = slice(100, 40_575), slice(40_650, 127_400)
# Samples of a sequence that only initialise a model.
CONTEXT = 50
LENGTH, STRIDE = 178, 64
PIECES = 32
# Channels before this one are outputs.
INPUTS = 2
# Steps of a window at irregular times, seven of the oscillator's periods given and seven
# to forecast; training windows overlap.
WINDOW, GIVEN, OVERLAP = 128, 64, 64
MILLI = 1000


def load_silverbox(folder: pathlib.Path) -> Dataset:
    """Returns voltages, `(example, time, 5)`, with mean 0 and deviation 1 over the training
    part: the outputs of this and of the sample before, and the inputs of the next sample,
    which is known when that sample's output is predicted, of this and of the one before.
    `scale` is in millivolts.

    Of the multisine the first three quarters are for training, as windows of 178 samples,
    one every 64; the rest, in 32 pieces, is for validation. The test set is the arrow, one
    sequence whose amplitude grows beyond that of the training. `in_range` is the arrow
    until the output first does so.

    - `folder`: holds `sysid_measured.npz` with the arrays `silverbox_u` and `silverbox_y`
        of 131 072 samples in volts.

    **Raises:** `ValueError` for a file that is not there, or is another one.
    """
    fitted, kept, arrow = _parts(folder)
    # One unit for each signal, whatever its delay.
    mean, std = (np.repeat(unit, (INPUTS, 3)) for unit in _units(fitted))
    inside = _inside(arrow, fitted)

    def part(sequences: np.ndarray) -> Split:
        return unlabelled((sequences - mean) / std)

    starts = range(0, len(fitted) - LENGTH + 1, STRIDE)
    size = len(kept) // PIECES
    return Dataset(
        "silverbox",
        part(np.stack([fitted[i : i + LENGTH] for i in starts])),
        part(kept[: PIECES * size].reshape(PIECES, size, -1)),
        part(arrow[None]),
        in_range=part(arrow[None, :inside]),
        scale=MILLI * std,
    )


def load_irregular_silverbox(folder: pathlib.Path, sampling: Sampling) -> Dataset:
    """Returns windows of 128 samples, `(example, time, 4)`, of the same recording at
    irregular times and with samples missing, as `sampling` says: the output and the input
    as they are seen, of mean 0 and deviation 1, NaN where a sample is missing; the output
    that is wanted; and the time, in steps of the recording.

    The parts are those of `load_silverbox`, but that the arrow too is cut in windows; those
    wholly within the range of the training are `in_range`. In training and validation what
    is wanted is missing with its sample, in the tests it never is. `scale` is that of the
    output, in millivolts.

    **Raises:** as `load_silverbox`.
    """
    fitted, kept, arrow = _parts(folder)
    mean, std = _units(fitted)

    def part(name: str, rows: np.ndarray, stride: int = WINDOW) -> Split:
        made = windows(
            (rows[:, [0, INPUTS + 1]] - mean) / std,
            sampling,
            stream(name),
            length=WINDOW,
            stride=stride,
            complete=name == "test",
        )
        return unlabelled(made)

    test = part("test", arrow)
    return Dataset(
        "silverbox",
        part("train", fitted, OVERLAP),
        part("validation", kept),
        test,
        in_range=test.head((_inside(arrow, fitted) - REACH) // WINDOW),
        scale=MILLI * std[:1],
    )


def _parts(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows to train with, to validate with, and those of the arrow."""
    volts = _read(folder / FILE)
    multisine = volts[MULTISINE]
    cut = len(multisine) * 3 // 4
    return multisine[:cut], multisine[cut:], volts[ARROW]


def _units(fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the deviation of the output and of the input."""
    signals = fitted[:, [0, INPUTS]]
    return signals.mean(axis=0), signals.std(axis=0)


def _inside(arrow: np.ndarray, fitted: np.ndarray) -> int:
    """Returns how many rows of the arrow there are before its output is beyond what the
    training has.
    """
    beyond = np.abs(arrow[:, 0]) > np.abs(fitted[:, 0]).max()
    return int(np.argmax(beyond)) if beyond.any() else len(arrow)


def _read(path: pathlib.Path) -> np.ndarray:
    """Returns the outputs and inputs around each sample, `(samples, 5)`; those before the
    first sample and after the last are zero.
    """
    if not path.is_file():
        raise ValueError(
            f"`{path}` is missing. Get Silverbox from https://www.nonlinearbenchmark.org, "
            "save its input and output as silverbox_u and silverbox_y in this file with "
            "`numpy.savez`, or give the folder that has it as `--data DIR`."
        )
    arrays = zip(KEYS, read_arrays(path, KEYS))
    u, y = (finite_numbers(path, key, array) for key, array in arrays)
    if u.shape != (SAMPLES,) or y.shape != (SAMPLES,):
        raise ValueError(
            f"`{path}` needs {SAMPLES} samples each of {' and '.join(KEYS)}; got shapes "
            f"{u.shape} and {y.shape}."
        )
    y, u = np.pad(y, (1, 1)), np.pad(u, (1, 1))
    return np.stack([y[1:-1], y[:-2], u[2:], u[1:-1], u[:-2]], axis=-1)
