"""A `.ts` file of the time series archives -> sequences and labels.

A header of comments (#) and of `@key value` lines up to `@data`, then one case a line:
its channels, parted by colons, each a list of numbers parted by commas, and its label.
"""

import pathlib
from typing import NoReturn

import numpy as np
from jaxtyping import Float


FORMAT = "Give a .ts file of the UEA archive, as NAME_TRAIN.ts."
Cases = tuple[list[Float[np.ndarray, "t d"]], list[str]]


def read_ts(path: pathlib.Path) -> Cases:
    """Returns the sequences, `(time, channels)` each, and their labels. A value that is
    missing, ? or NaN, is NaN.

    **Raises:** `ValueError`, naming the file and the line, for what is no `.ts` file of a
    classification, channels of unequal length, cases of unequal channels, values that are
    no finite number, an unknown label, or what the header denies: lengths that are unequal,
    and values that are missing.
    """
    # Comments of old files may be in any encoding; only labels are text that counts.
    with path.open(encoding="utf-8-sig", errors="backslashreplace") as file:
        lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
    header: dict[str, list[str]] = {}
    sequences, labels = [], []
    for number, line in lines:
        place = f"{path}:{number}"
        if not line or line.startswith("#"):
            continue
        if "@data" in header:
            sequence, label = _case(place, line, _classes(path, header))
            if [value.lower() for value in header.get("@missing", [])[:1]] == ["false"]:
                _is_complete(place, sequence)
            _agrees(place, sequence, header, sequences)
            sequences.append(sequence)
            labels.append(label)
        elif line.startswith("@"):
            key, *values = line.split()
            header[key.lower()] = values
            if key.lower() == "@timestamps" and _is_true(values):
                _refuse(place, f"got {line!r}: cases with times cannot be read.")
        else:
            reason = f"needs `@data` before the cases; got {line[:40]!r}. {FORMAT}"
            _refuse(place, reason)
    if not sequences:
        _refuse(str(path), f"needs cases after a line `@data`; got none. {FORMAT}")
    return sequences, labels


def _classes(path: pathlib.Path, header: dict[str, list[str]]) -> list[str]:
    values = header.get("@classlabel", [])
    if not _is_true(values) or len(values) < 2:
        _refuse(str(path), f"needs a line `@classLabel true CLASS CLASS ...`. {FORMAT}")
    return values[1:]


def _case(place: str, line: str, classes: list[str]) -> tuple[np.ndarray, str]:
    *texts, label = (text.strip() for text in line.split(":"))
    if not texts:
        _refuse(
            place, f"needs channels and a label, parted by colons; got {line[:40]!r}."
        )
    if label not in classes:
        known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        _refuse(place, f"needs a label of its header ({known}); got {label[:40]!r}.")
    channels = [_channel(place, i, text) for i, text in enumerate(texts, 1)]
    lengths = [len(channel) for channel in channels]
    if len(set(lengths)) > 1:
        _refuse(place, f"needs channels of one length; got lengths {lengths}.")
    return np.stack(channels, axis=1), label


def _channel(place: str, number: int, text: str) -> np.ndarray:
    values = text.split(",")
    try:
        with np.errstate(over="ignore"):
            known = ["nan" if v.strip() == "?" else v for v in values]
            channel = np.array(known, np.float64).astype(np.float32)
    except ValueError:
        channel = np.array([np.inf])
    if not np.any(np.isinf(channel)):
        return channel
    bad = next((v.strip() for v in values if not _is_number(v)), text)
    _refuse(
        place,
        f"needs finite numbers, or ? where one is missing; got {bad[:40]!r} in channel "
        f"{number}. Mend it, or leave the case out.",
    )


def _is_number(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return text.strip() == "?"
    return not abs(value) > float(np.finfo(np.float32).max)


def _is_complete(place: str, sequence: np.ndarray) -> None:
    if np.any(gaps := np.isnan(sequence)):
        step, channel = np.argwhere(gaps)[0] + 1
        _refuse(
            place,
            f"has a missing value, number {step} of channel {channel}, though the header "
            "says `@missing false`. Fill it in, or say `@missing true`.",
        )


def _agrees(
    place: str,
    sequence: np.ndarray,
    header: dict[str, list[str]],
    before: list[np.ndarray],
) -> None:
    """Refuses a case that differs from the first one where the header or sense forbid."""
    length, channels = sequence.shape
    said = header.get("@dimensions") or header.get("@dimension")
    wanted = said[0] if said else str(before[0].shape[1] if before else channels)
    if str(channels) != wanted:
        _refuse(place, f"needs {wanted} channels, as said before; got {channels}.")
    if before and _is_true(header.get("@equallength", [])) and length != len(before[0]):
        _refuse(
            place,
            f"needs {len(before[0])} steps, as the first case, for the header says "
            f"`@equalLength true`; got {length}.",
        )


def _is_true(values: list[str]) -> bool:
    return bool(values) and values[0].lower() == "true"


def _refuse(place: str, reason: str) -> NoReturn:
    raise ValueError(f"`{place}` {reason}")
