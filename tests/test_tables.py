"""Files of one's own series: what they give, and how malformed ones are refused."""

import gzip

import numpy as np
import pytest

from experiments._data import load_file, load_series
from experiments._data.table import read_csv

from .files import refused


HEAD = "date,a,b\n"
ROWS = [f"2020-01-{i:02},{i}.5,{(i * 7) % 5}" for i in range(1, 21)]


def text_of(*lines):
    return HEAD + "\n".join(lines) + "\n"


def test_a_file_gives_its_columns(tmp_path):
    (tmp_path / "x.csv").write_text(text_of(*ROWS))
    names, values, _ = read_csv(tmp_path / "x.csv")
    assert names == ("a", "b") and values.dtype == np.float64
    wanted = [[i + 0.5, (i * 7) % 5] for i in range(1, 21)]
    np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize(
    "change",
    (
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: gzip.compress(text.encode(), mtime=0),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: (text + "\n \n\n").encode(),
        lambda text: text.replace(",", ", ").encode(),
        lambda text: text.replace("date", "Time").encode(),
        lambda text: text.replace("date", "").encode(),
        lambda text: text.replace("a,b", '"a",b').replace(",3.5", ',"3.5"').encode(),
    ),
)
def test_files_may_be_written_in_many_ways(change, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(text_of(*ROWS))
    wanted = read_csv(path)
    path.write_bytes(change(text_of(*ROWS)))
    names, values, _ = read_csv(path)
    assert names == wanted.names
    np.testing.assert_array_equal(values, wanted.values)


def test_a_name_may_be_in_any_encoding(tmp_path):
    (tmp_path / "x.csv").write_bytes("año,b\n1,2\n".encode("latin-1"))
    names, values, _ = read_csv(tmp_path / "x.csv")
    assert names == ("a\\xf1o", "b") and values.tolist() == [[1, 2]]


@pytest.mark.parametrize("first", ("", "date"))
def test_names_may_be_numbers_beside_what_says_when(first, tmp_path):
    (tmp_path / "x.csv").write_text(f"{first},0,1\n0,5,6\n1,7,8\n")
    names, values, _ = read_csv(tmp_path / "x.csv")
    assert names == ("0", "1") and values.tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize(
    "text, line, fragments",
    (
        ("", None, ("needs a line of names", "Give a .csv file")),
        ("\n\n", None, ("needs a line of names", "Give a .csv file")),
        (HEAD, None, ("needs lines of numbers", "Give a .csv file")),
        ("1,2\n3,4\n", 1, ("['1', '2']", "Put a line of names")),
        (
            "2020-01-01,1,2\n2020-01-02,3,4\n",
            1,
            ("'2020-01-01'", "Put a line of names"),
        ),
        ("1,?\n3,4\n", 1, ("['1', '?']", "Put a line of names")),
        ("7\n8\n", 1, ("['7']", "Put a line of names")),
        ("a,b,a\n1,2,3\n", 1, ("['a'] more than once", "Rename")),
        ("a,,\n1,2,3\n", 1, ("[''] more than once", "Rename")),
        ("date,time\n1,2\n", 1, ("needs a column of numbers", "Give a .csv file")),
        ("a,b\n1,2\n3\n", 3, ("needs 2 cells", "got 1", "separator")),
        ("a,b\n1,2\n3,4,5\n", 3, ("needs 2 cells", "got 3", "separator")),
        ("a,b\n1,2\n\n3,4\n", 3, ("needs 2 cells", "got 0", "empty")),
        ("a\n1\n\n3\n", 3, ("needs 1 cells", "got 0", "empty")),
        ("a,b\n1,2\n3,x\n", 3, ("finite number", "column 'b'", "'x'", "--target")),
        ("a,b\n1,2\n3,inf\n", 3, ("finite number", "column 'b'", "'inf'", "--target")),
        ("a,b\n1,2\n3,1e999\n", 3, ("finite number", "'1e999'", "--target")),
        ("a;b\n1,5;2\n", 2, ("column 'a'", "'1,5'", "decimal point, as 1.5", "pandas")),
        ("a,b\n1,5,2\n", 2, ("needs 2 cells", "a decimal comma")),
        (
            "when,b\n2020-01-01,2\n",
            2,
            ("column 'when'", "a date: name the column date"),
        ),
        (
            "date,b\n2020-01-02,1\n2020-01-02T01,2\n2020-01-01,3\n",
            4,
            ("a later 'date' than '2020-01-02T01'", "got '2020-01-01'", "Sort"),
        ),
        (
            "b,Time\n1,2020-01-02 \n2, 2020-01-02\n",
            3,
            ("a later 'Time'", "one of each"),
        ),
        (
            "date,b\n2020-10-25 02:00,1\n2020-10-25 02:45,1\n2020-10-25 02:00,2\n",
            4,
            ("than '2020-10-25 02:45'", "clocks were set back, drop or average", "UTC"),
        ),
        ("date,b\n2020-01-02,1\n?,2\n2020-01-01,3\n", 4, ("got '2020-01-01'", "Sort")),
        (",b\n2020-01-02,1\n2020-01-01,3\n", 3, ("a later 'date'", "Sort")),
        (
            "time,b,date\n23:00,1,2020-01-01\n22:00,1,2020-01-01\n",
            3,
            ("a later 'date time' than '2020-01-01 23:00'", "Sort"),
        ),
        ("a,b\n1,2\n,4\n", 3, ("no value in column 'a'", "carry")),
        ("a,b\n1,2\n3,?\n", 3, ("no value in column 'b': '?'", "carry")),
        ("a,b\n1,2\nNaN,4\n", 3, ("no value in column 'a': 'NaN'", "carry")),
        ("a,b\n1,2\nnull,4\n", 3, ("no value in column 'a': 'null'", "carry")),
        ('a,b\n1,2\n"3,4\n', 3, ("cannot be read", "Give a .csv file")),
        ('a,b\n1,2\n"3"4,5\n', 3, ("cannot be read", "Give a .csv file")),
        ("a,b\n1,2\n" + "9" * 200_000 + ",4\n", 3, ("cannot be read", "field")),
        ("a\x00,b\n1,2\n3\x00,4\n", 3, ("finite number", "Mend it")),
    ),
)
def test_a_malformed_file_is_refused_by_its_line(text, line, fragments, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with refused(path, *fragments, line=line):
        read_csv(path)


@pytest.mark.parametrize(
    "written",
    (gzip.compress(HEAD.encode(), mtime=0)[:-9], b"\x1f\x8bno gzip", b"\x1f\x8b", None),
)
def test_what_cannot_be_read_is_refused(written, tmp_path):
    path = tmp_path / "x.csv.gz"
    if written is not None:
        path.write_bytes(written)
    with refused(path, "cannot be read", "Get it again"):
        read_csv(path)


def test_missing_values_are_carried_on_from_the_past_alone(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n?,3\n,NA\n4,none\n")
    values = read_csv(path, carry=True).values
    assert values.tolist() == [[1, 2], [1, 3], [1, 3], [4, 3]]
    path.write_text("a,b\n1,\n2,3\n")
    with refused(path, "none before it", "Begin", line=2):
        read_csv(path, carry=True)
    # What is not missing but wrong is not carried over.
    path.write_text("a,b\n1,2\nx,3\n")
    with refused(path, "column 'a'", "'x'", line=3):
        read_csv(path, carry=True)


@pytest.mark.parametrize(
    "column, fragments",
    (
        (["1"] * 20, ("constant ones: b", "Leave them out, as `--target` does")),
        (["1e300", "-1e300"] * 10, ("single precision", "b", "broken values")),
        ([str(i) for i in range(15)] + ["1e300"] * 5, ("single precision", "broken")),
        (["1", "2"], ("2 rows, cut after 1 and 1", "Give a longer series")),
    ),
)
def test_columns_that_cannot_be_scaled_are_refused(column, fragments, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "".join(f"{i},{x}\n" for i, x in enumerate(column)))
    with refused(path, *fragments):
        load_file(path)


RISING = np.arange(20.0)


@pytest.mark.parametrize(
    "arrays, shape",
    (
        ({"x": RISING}, (20, 1)),
        ({"data": RISING.reshape(10, 2), "other": np.ones(3)}, (10, 2)),
        ({"x": RISING.reshape(10, 2).astype(np.int16)}, (10, 2)),
    ),
)
def test_an_archive_gives_its_array(arrays, shape, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    series = load_file(tmp_path / "x.npz")
    assert series.rows.shape == shape
    back = series.rows * series.scale + series.centre
    np.testing.assert_allclose(back, RISING.reshape(shape), rtol=1e-6, atol=1e-5)
    assert series.names == tuple(map(str, range(shape[1])))


class Mischief:
    """Raises when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise AssertionError('unpickled')",)


@pytest.mark.parametrize(
    "arrays, fragments",
    (
        ({}, ("needs one array", "got []", "numpy.savez")),
        ({"x": RISING, "y": RISING}, ("needs one array", "['x', 'y']", "numpy.savez")),
        ({"x": np.ones((3, 2, 2))}, ("got (3, 2, 2)", "Lay further axes")),
        ({"x": np.ones((0, 2))}, ("got (0, 2)", "(rows, channels)")),
        ({"x": np.array(3.0)}, ("got ()", "(rows, channels)")),
        ({"x": RISING.astype(str)}, ("real numbers in x", "<U", "Save it")),
        ({"x": RISING * 1j}, ("real numbers in x", "complex128", "Save it")),
        ({"x": RISING > 3}, ("real numbers in x", "bool", "Save it")),
        ({"x": np.where(RISING == 3, np.nan, RISING)}, ("nan in x[3, 0]", "Fill in")),
        ({"x": np.where(RISING == 3, np.inf, RISING)}, ("inf in x[3, 0]", "Fill in")),
        ({"x": np.ones(20)}, ("constant ones: 0", "Leave them out")),
        ({"x": RISING[:3]}, ("3 rows, cut after 1 and 1", "longer")),
        ({"x": np.array([Mischief()] * 20)}, ("array x", "numpy.savez")),
    ),
)
def test_a_malformed_archive_is_refused(arrays, fragments, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, allow_pickle=True, **arrays)
    with refused(path, *fragments):
        load_file(path)


@pytest.mark.parametrize("written", (b"", b"no zip", b"PK\x03\x04", None, "cut", "npy"))
def test_what_is_no_archive_is_refused(written, tmp_path):
    path = tmp_path / "x.npz"
    if written == "npy":
        with path.open("wb") as stream:
            np.save(stream, RISING)
    elif written == "cut":
        np.savez(path, x=RISING)
        path.write_bytes(path.read_bytes()[:-30])
    elif written is not None:
        path.write_bytes(written)
    with refused(path, "needs arrays", "numpy.savez"):
        load_file(path)


def test_columns_that_are_not_forecast_may_hold_anything(tmp_path):
    path = tmp_path / "x.csv"
    rows = [f"d{i},{i % 5},{'' if i == 7 else i},day {i}" for i in range(20)]
    path.write_text("\n".join(["date,a,b,what", *rows]))
    series = load_series("x.csv", tmp_path, target=("a",), alone=True)
    assert series.names == ("a",) and series.rows.shape == (20, 1)
    values = series.rows[:, 0] * series.scale + series.centre
    np.testing.assert_allclose(values, np.arange(20) % 5, atol=1e-6)
    with refused(path, "column 'what'", line=2):
        load_series("x.csv", tmp_path, target=("a",))
    with refused(path, "column 'b'", "carry", line=9):
        load_series("x.csv", tmp_path, target=("b", "a"), alone=True)
    with refused(path, "columns asked for, 'c'", "'what'", line=1):
        load_series("x.csv", tmp_path, target=("c",), alone=True)
    there = "There are ['a', 'b', 'what']"
    with refused(path, "columns of numbers", "'date' says when", there, line=1):
        load_series("x.csv", tmp_path, target=("date",), alone=True)
    np.savez(tmp_path / "x.npz", data=np.random.default_rng(0).normal(size=(20, 3)))
    both = load_series("x.npz", tmp_path, target=("2", "0"), alone=True)
    assert both.names == ("2", "0")


def test_a_file_is_found_here_or_in_the_folder(tmp_path, monkeypatch):
    for place, rows in (("here", ROWS), ("there", ROWS[:10])):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.csv").write_text(text_of(*rows))
    monkeypatch.chdir(tmp_path / "here")
    assert len(load_series("x.csv", tmp_path / "there").rows) == 20
    (tmp_path / "here" / "x.csv").unlink()
    assert len(load_series("x.csv", tmp_path / "there").rows) == 10
    assert len(load_series(str(tmp_path / "there" / "x.csv"), tmp_path).rows) == 10
    with pytest.raises(ValueError, match=r"`--dataset y.csv` is no file.* whole path"):
        load_series("y.csv", tmp_path)
    with pytest.raises(ValueError, match=r"`--dataset y` needs one of ETTh1.*\.npz"):
        load_series("y", tmp_path)
