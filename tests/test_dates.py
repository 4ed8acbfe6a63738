"""Columns that say when: what is noted of them, and how they go on."""

import datetime

import pytest

from experiments._data.table import read_csv


def read(times, tmp_path, name="date"):
    lines = [f"{time},{i}" for i, time in enumerate(times)]
    (tmp_path / "x.csv").write_text("\n".join([f"{name},a", *lines]))
    table = read_csv(tmp_path / "x.csv")
    assert table.values[:, 0].tolist() == list(range(len(times)))
    return table.dates


def dates_of(times, tmp_path, name="date"):
    dates = read(times, tmp_path, name)
    assert dates is not None and dates.name == "date"
    return dates


def hours(count, **step):
    start = datetime.datetime(2024, 3, 30, 22)
    return [str(start + i * datetime.timedelta(**step)) for i in range(count)]


@pytest.mark.parametrize(
    "times, quoted, others",
    (
        (("2/1/2020", "1/1/2020"), ":2: '2/1/2020'", ", nor were 1 others:"),
        (("2020-01-02", "2020-01-01T00:00+01:00"), ":3: '2020-01-01T00:00+01:00'", ":"),
        (("9", "8", "7"), ":2: '9'", ", nor were 2 others:"),
        (("2020-01-01", "", "2020-01-03"), ":3: ''", ":"),
    ),
)
def test_what_is_not_read_as_a_date_is_noted(times, quoted, others, tmp_path):
    dates = dates_of(times, tmp_path)
    (note,) = dates.notes
    assert f"x.csv{quoted} of column 'date' was not read as a date{others}" in note
    assert "2020-01-31 18:30" in note
    assert dates.after(2) == []


@pytest.mark.parametrize(
    "times", (hours(30, hours=1), ["2020-01-01"], hours(2, days=1))
)
def test_dates_in_even_steps_need_no_note(times, tmp_path):
    assert dates_of(times, tmp_path).notes == ()


def test_a_column_without_a_name_may_be_an_index(tmp_path):
    assert read(("1", "0"), tmp_path, name="") is None
    assert (
        dates_of(hours(9, days=1), tmp_path, name="").after(1) == hours(10, days=1)[-1:]
    )


def test_gaps_are_noted_and_a_few_do_not_stop_the_dates(tmp_path):
    whole = hours(203, hours=1)
    dates = dates_of(whole[:50] + whole[53:200], tmp_path)
    (note,) = dates.notes
    assert "x.csv:52: 1 of 196 steps of 'date' are not the usual 1:00:00" in note
    assert f"the one to {whole[53]!r}" in note and "--carry" in note
    assert dates.after(3) == whole[200:]
    # Where it is more than a hundredth, what comes next is not known.
    dates = dates_of(whole[:50] + whole[53:60] + whole[63:80], tmp_path)
    assert "2 of 73 steps" in dates.notes[0] and dates.after(3) == []
    workdays = [f"2024-01-{day:02}" for day in range(1, 31) if day % 7 not in (6, 0)]
    assert "usual 1 day" in dates_of(workdays, tmp_path).notes[0]


@pytest.mark.parametrize(
    "times, following",
    (
        (hours(9, minutes=15), hours(11, minutes=15)[-2:]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
        (["20240227", "20240228"], ["20240229", "20240301"]),
        (
            ["2024-01-01 22:30", "2024-01-01 23:00"],
            ["2024-01-01 23:30", "2024-01-02 00:00"],
        ),
        (["2024-01-01T22", "2024-01-01T23"], ["2024-01-02T00:00:00"]),
        (["2024-01-01T22:00", "2024-01-01T23:00"], ["2024-01-02T00:00"]),
        (
            ["2024-01-01T00:00:00+01:00", "2024-01-01T02:00:00+02:00"],
            ["2024-01-01T03:00:00+02:00"],
        ),
        (["2023-11-05", "2023-12-05"], ["2024-01-05", "2024-02-05"]),
        (["2023-11-30", "2023-12-31"], ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (["2023-06-30", "2023-09-30"], ["2023-12-31", "2024-03-31"]),
        (["2022-01-01", "2023-01-01"], ["2024-01-01", "2025-01-01"]),
        (["1960-11", "1960-12"], ["1961-01", "1961-02"]),
        (["9999-12-30", "9999-12-31"], []),
        (["9999-11-30", "9999-12-31"], []),
    ),
)
def test_dates_go_on_as_they_are_written(times, following, tmp_path):
    dates = dates_of(times, tmp_path)
    assert dates.notes == ()
    assert dates.after(max(1, len(following))) == following


def test_a_date_and_a_time_are_read_together(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Time,a,Date\n22:00,1,2024-01-31\n23:00,2,2024-01-31\n")
    dates = read_csv(path).dates
    assert dates is not None and dates.name == "Date Time"
    assert dates.after(1) == ["2024-02-01 00:00"]
