"""A `.csv` file of numbers -> columns.

A line of names, then one line for each time, parted by commas, or where the first line has
none by semicolons or tabs. Plain or in gzip; any encoding that agrees with ASCII.
"""

import csv
import math
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float

from .dates import Cell, Dates, is_date, read_dates
from .raw import read_bytes


# Names of columns that say when; the empty one is the index that pandas writes.
TIMES = ("", "date", "time", "datetime", "timestamp")
MISSING = ("", "?", "na", "n/a", "nan", "null", "none")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
FORMAT = "Give a .csv file with a line of names and then lines of numbers."


class Table(NamedTuple):
    """- `names`: of the columns.
    - `values`: `(rows, columns)`, in double precision.
    - `dates`: of the rows, where a column says when they were.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "t d"]
    dates: Dates | None


def read_csv(
    path: pathlib.Path,
    *,
    carry: bool = False,
    numbered: bool = False,
    only: Sequence[str] = (),
) -> Table:
    """Returns the columns of numbers of a file.

    A column named date, time, datetime, timestamp, in any case, or nothing at all says when
    a row was, and is not among the columns: rows count as evenly spaced and in order. The
    order is checked of dates as ISO 8601 writes them; a date and a time in two columns are
    read together.

    - `carry`: fills a missing value (nothing, ?, NA, N/A, NaN, null, none) with the one
        before it in its column, so that nothing is known before its time.
    - `numbered`: lets all names be numbers, as those of sensors are. Otherwise that is
        refused, for it is likely a row whose values would be lost.
    - `only`: columns to read, by default all; the others may then hold anything.

    **Raises:** `ValueError`, naming file and line, for a file that cannot be read, names
    that are missing or there twice, lines of another length, dates that are not later than
    the one before, and cells that are missing or no finite number.
    """
    lines = _lines(path)
    if not lines:
        _refuse(str(path), f"needs a line of names; it is empty. {FORMAT}")
    (first, header), *rows = lines
    names = [name.strip() for name in header]
    _check_names(f"{path}:{first}", names, numbered)
    if unknown := [name for name in only if name not in names]:
        _refuse(
            f"{path}:{first}",
            f"needs the columns asked for, {', '.join(map(repr, unknown))}; got "
            f"{names[:10]}.",
        )
    kept = [i for i, name in enumerate(names) if name.lower() not in TIMES]
    if only:
        kept = [i for i in kept if names[i] in only]
    if when := [name for name in only if name.lower() in TIMES]:
        _refuse(
            f"{path}:{first}",
            f"needs columns of numbers to be asked for; {when[0]!r} says when a row was. "
            f"There are {[name for name in names if name.lower() not in TIMES][:10]}.",
        )
    if not kept:
        _refuse(f"{path}:{first}", f"needs a column of numbers; got {names}. {FORMAT}")
    if not rows:
        _refuse(str(path), f"needs lines of numbers after the names. {FORMAT}")
    for number, row in rows:
        if len(row) != len(names):
            _refuse(
                f"{path}:{number}",
                f"needs {len(names)} cells, as there are names; got {len(row)}. Look for a "
                "missing or a surplus separator, a decimal comma, or an empty or a broken "
                "line.",
            )
    dates = [read_dates(path, *when) for when in _whens(names, rows)]
    cells = [[row[i] for i in kept] for _, row in rows]
    names = tuple(names[i] for i in kept)
    try:
        values = np.array(cells, np.float64)
        clean = bool(np.all(np.isfinite(values)))
    except ValueError:
        clean, values = False, np.empty(0)
    if not clean:
        values = _one_by_one(path, names, [n for n, _ in rows], cells, carry)
    return Table(names, values, dates[0] if dates else None)


def _lines(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Returns the cells of every line and its number; empty lines at the end are none."""
    whole = read_bytes(path).decode("utf-8-sig", "backslashreplace")
    lines = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    parted = next((s for s in ",;\t" if lines and s in lines[0]), ",")
    reader = csv.reader(lines, delimiter=parted, strict=True)
    found = []
    try:
        for row in reader:
            found.append((reader.line_num, row))
    except csv.Error as error:
        place = f"{path}:{reader.line_num}"
        raise ValueError(f"`{place}` cannot be read: {error}. {FORMAT}") from error
    return found


def _check_names(place: str, names: list[str], numbered: bool) -> None:
    # Beside what says when a row was, numbers are names; after a date they are a row.
    beside = len(names) > 1 and names[0].lower() in TIMES
    told = names[1:] or names
    values = [n for n in told if _number(n) is not None or n.lower() in MISSING[1:]]
    if names and not numbered and not beside and len(values) == len(told):
        _refuse(
            place,
            f"needs names of columns; got {names[:5]}. Put a line of names, not of "
            "numbers, in front.",
        )
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        _refuse(
            place,
            f"needs every name once; got {sorted(twice)[:5]} more than once. Rename one.",
        )


def _whens(
    names: list[str], rows: list[tuple[int, list[str]]]
) -> list[tuple[str, list[Cell]]]:
    """Returns the columns that say when, by their name and their cells: a date and a time
    as one, and the one without a name where it begins with a date.
    """
    columns = [i for i, name in enumerate(names) if name.lower() in TIMES]
    columns = [i for i in columns if names[i] or is_date(rows[0][1][i].strip())]
    groups = [[i] for i in columns]
    if sorted(names[i].lower() for i in columns) == ["date", "time"]:
        groups = [sorted(columns, key=lambda i: names[i].lower())]
    return [
        (
            " ".join(names[i] for i in group) or TIMES[1],
            [(number, " ".join(row[i].strip() for i in group)) for number, row in rows],
        )
        for group in groups
    ]


def _one_by_one(
    path: pathlib.Path,
    names: tuple[str, ...],
    numbers: list[int],
    cells: list[list[str]],
    carry: bool,
) -> Float[np.ndarray, "t d"]:
    """Returns the cells as numbers, or says which one is none."""
    values = np.empty((len(cells), len(names)))
    for row, (number, texts) in enumerate(zip(numbers, cells)):
        for column, (name, text) in enumerate(zip(names, texts)):
            value, place = _number(text), f"{path}:{number}"
            if value is not None:
                values[row, column] = value
            elif text.strip().lower() not in MISSING:
                _refuse(
                    place,
                    f"needs a finite number in column {name!r}; got {text[:40]!r}. "
                    f"{_way_out(text)}",
                )
            elif carry and row:
                values[row, column] = values[row - 1, column]
            elif carry:
                _refuse(
                    place,
                    f"has no value in column {name!r}, {text[:40]!r}, and none before it "
                    "to carry on. Begin where every column has one.",
                )
            else:
                _refuse(
                    place,
                    f"has no value in column {name!r}: {text[:40]!r}. Fill it in, or ask "
                    "for the last value to be carried on (`carry`, or `--carry`).",
                )
    return values


def _way_out(text: str) -> str:
    """Returns what to do about a cell that is no number."""
    if DECIMAL_COMMA.fullmatch(text.strip()):
        return (
            f"Write a decimal point, as {text.strip().replace(',', '.')}: pandas does, by "
            "`read_csv(FILE, sep=';', decimal=',').to_csv(NEW, index=False)`."
        )
    if is_date(text.strip()):
        return (
            "It looks like a date: name the column date, time, datetime or timestamp, and "
            "it is not taken for numbers."
        )
    return (
        "Mend it, or name the columns of numbers that are wanted (`target`, or `--target "
        "COLUMN ...`): no other is read."
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _refuse(place: str, reason: str) -> NoReturn:
    raise ValueError(f"`{place}` {reason}")
