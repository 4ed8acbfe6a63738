"""Cells that say when -> whether they are in order and evenly spaced, and the next ones."""

import calendar
import collections
import datetime
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple


# The number of a line, and what its cell says.
Cell = tuple[int, str]
Time = datetime.datetime
# How a time may be written: of those that give a cell again, the first.
FORMS: tuple[Callable[[Time], str], ...] = (
    lambda time: time.date().isoformat(),
    lambda time: time.strftime("%Y-%m"),
    lambda time: time.strftime("%Y%m%d"),
    lambda time: time.isoformat(" ", "minutes"),
    lambda time: time.isoformat("T", "minutes"),
    lambda time: time.isoformat(" "),
)
# Clocks that go forward once a year leave few steps that are not the usual one.
EXCEPTIONS = 0.01


class Dates(NamedTuple):
    """- `name`: of the column, or of the two.
    - `notes`: what a user should know of them, a line each.
    - `following`: from how many steps after the last date to that date as the file would
        write it; `None` where dates were not all read, or are not evenly spaced but for a
        few.
    """

    name: str
    notes: tuple[str, ...]
    following: Callable[[int], str] | None

    def after(self, count: int) -> list[str]:
        """Returns the dates of the next steps, or none where they are not known."""
        if self.following is None:
            return []
        try:
            return [self.following(step) for step in range(1, count + 1)]
        except (OverflowError, ValueError):
            # Beyond the year 9999.
            return []


class _Spacing(NamedTuple):
    """- `steps`: from each time to the next.
    - `usual`: what most of them are, in words.
    - `odd`: which of them are not.
    - `following`: as of `Dates`, but a time.
    """

    steps: int
    usual: str
    odd: list[int]
    following: Callable[[int], Time]


def is_date(text: str) -> bool:
    """Whether a cell reads as a date."""
    return _time(text) is not None


def read_dates(path: pathlib.Path, name: str, cells: Sequence[Cell]) -> Dates:
    """Returns what is known of a column of dates as ISO 8601 writes them, or of months.

    Cells that are no such dates, or that have a time zone where the first date has none or
    the other way round, are passed over, which is noted, as are steps that are not the
    usual one. Months, quarters and years are steps too.

    **Raises:** `ValueError` for a date that is not later than the one before it.
    """
    read: list[tuple[Cell, Time]] = []
    unread: list[Cell] = []
    for cell in cells:
        time = _time(cell[1])
        if time is None or (read and _zoned(time) != _zoned(read[0][1])):
            unread.append(cell)
        else:
            read.append((cell, time))
    for ((_, before), earlier), ((number, text), time) in itertools.pairwise(read):
        if time <= earlier:
            raise ValueError(
                f"`{path}:{number}` needs a later {name!r} than {before!r}, of a line "
                f"before; got {text!r}. Sort the lines by time, and keep one of each; "
                "where clocks were set back, drop or average the hour that is there twice, "
                "or write the times in UTC."
            )
    if unread:
        number, text = unread[0]
        return Dates(name, (_unread(path, name, len(unread), number, text),), None)
    if len(read) < 2:
        return Dates(name, (), None)
    spacing = _spacing([time for _, time in read])
    notes = ()
    if spacing.odd:
        number, text = read[spacing.odd[0] + 1][0]
        notes = (_odd(path, name, spacing, number, text),)
    if len(spacing.odd) > EXCEPTIONS * spacing.steps:
        return Dates(name, notes, None)
    (_, text), last = read[-1]
    form = next((form for form in FORMS if form(last) == text), Time.isoformat)
    return Dates(name, notes, lambda step: form(spacing.following(step)))


def _time(text: str) -> Time | None:
    for more in ("", "-01"):
        try:
            return Time.fromisoformat(text + more)
        except ValueError:
            continue
    return None


def _zoned(time: Time) -> bool:
    return time.utcoffset() is not None


def _spacing(times: list[Time]) -> _Spacing:
    last, months = times[-1], [12 * time.year + time.month - 1 for time in times]
    ends = all(time.day == _days(month) for time, month in zip(times, months))
    of_month = ends or (last.day <= 28 and all(t.day == last.day for t in times))
    if of_month and all(time.time() == last.time() for time in times):
        steps = [after - before for before, after in itertools.pairwise(months)]
        usual = _most(steps)

        def following(step: int) -> Time:
            month = months[-1] + step * usual
            day = _days(month) if ends else last.day
            return last.replace(year=month // 12, month=month % 12 + 1, day=day)

        words = f"{usual} months" if usual > 1 else "month"
        return _Spacing(len(steps), words, _unlike(steps, usual), following)
    steps = [after - before for before, after in itertools.pairwise(times)]
    usual = _most(steps)
    odd = _unlike(steps, usual)
    return _Spacing(len(steps), str(usual), odd, lambda step: last + step * usual)


def _days(month: int) -> int:
    return calendar.monthrange(month // 12, month % 12 + 1)[1]


def _most(steps: list):
    return collections.Counter(steps).most_common(1)[0][0]


def _unlike(steps: list, usual: object) -> list[int]:
    return [i for i, step in enumerate(steps) if step != usual]


def _unread(path: pathlib.Path, name: str, count: int, number: int, text: str) -> str:
    others = f", nor were {count - 1} others" if count > 1 else ""
    return (
        f"{path}:{number}: {text[:40]!r} of column {name!r} was not read as a date"
        f"{others}: that such lines are in order is not checked. Dates are read as "
        "2020-01-31 or 2020-01-31 18:30, all with a time zone or none."
    )


def _odd(
    path: pathlib.Path, name: str, spacing: _Spacing, number: int, text: str
) -> str:
    return (
        f"{path}:{number}: {len(spacing.odd)} of {spacing.steps} steps of {name!r} are not "
        f"the usual {spacing.usual}; the first is the one to {text!r}. Models take rows as "
        "evenly spaced, so a gap is one step to them: where that matters, add a line for "
        "each time that is missing, with empty cells, and ask for --carry."
    )
