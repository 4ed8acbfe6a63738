"""Files of any bytes give a typed error or a right result, whatever their format."""

import contextlib
import csv
import gzip
import io
import math
import os
import pathlib
import random
import tempfile
import warnings
import zipfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from experiments._data.arrays import BROKEN, names_of_arrays, read_arrays
from experiments._data.celeba import _read, _read_list
from experiments._data.forecasting import load_file
from experiments._data.idx import read_idx
from experiments._data.table import read_csv
from experiments._data.ts_format import read_ts
from experiments._data.uea import _extract, _read_npz

from .files import FUZZ, mistaken
from .test_images import idx


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def jpeg():
    stream = io.BytesIO()
    Image.new("RGB", (178, 218), (200, 90, 5)).save(stream, "jpeg")
    return stream.getvalue()


def zipped(**texts):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in texts.items():
            file.writestr(name, text)
    return stream.getvalue()


def packed():
    stream = io.BytesIO()
    np.savez_compressed(stream, data=np.arange(40.0).reshape(20, 2))
    return stream.getvalue()


CSV = b"date,a,b\n2020-01-01,1.5,-2\n2020-01-02,3e-1,4\n2020-01-03,5,?\n"
TS = b"#x\n@missing true\n@classLabel true a b\n@data\n1,2,?:3,4,5:a\n6,7:8,9:b\n"
UEA = archive(
    x_train=np.ones((3, 2, 2)),
    y_train=np.array(list("aba")),
    x_test=np.ones((1, 2, 2)),
    y_test=np.array(["b"]),
)
ZIP = zipped(**{"deep/a.ts": TS, "deep/b.ts": TS})
FULL = CSV.replace(b"?", b"6")
LONG = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i % 7) for i in range(12))
IDX = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
LIST = b"000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n"


def a_table(path):
    names, values, _ = read_csv(path)
    assert values.shape[1:] == (len(names),) and len(values) > 0
    assert values.dtype == np.float64 and np.all(np.isfinite(values))
    assert len(set(names)) == len(names) > 0


def a_filled_table(path):
    names, values, _ = read_csv(path, carry=True)
    assert values.shape[1:] == (len(names),) and np.all(np.isfinite(values))


def a_series(path):
    series = load_file(path)
    channels = len(series.names)
    assert series.rows.shape[1:] == (channels,) == series.scale.shape
    assert series.rows.dtype == np.float32 and np.all(np.isfinite(series.rows))
    assert 0 < series.stops[0] < series.stops[1] < len(series.rows)


def a_set_of_cases(path):
    sequences, labels = read_ts(path)
    assert len(sequences) == len(labels) > 0
    assert len({xs.shape[1] for xs in sequences}) == 1
    for xs in sequences:
        assert xs.ndim == 2 and 0 not in xs.shape and xs.dtype == np.float32
        assert not np.any(np.isinf(xs))


def an_array_of_bytes(path):
    array = read_idx(path, 3)
    assert array.dtype == np.uint8 and array.ndim == 3 and array.size > 0
    assert (
        array.tobytes()
        == (
            gzip.decompress(path.read_bytes())
            if path.read_bytes()[:2] == b"\x1f\x8b"
            else path.read_bytes()
        )[-array.size :]
    )


def some_arrays(path):
    for name in names_of_arrays(path):
        (array,) = read_arrays(path, (name,))
        assert isinstance(array, np.ndarray) and array.dtype != object


def a_set_of_arrays(path):
    for sequences, labels in _read_npz(path):
        assert len(sequences) == len(labels) > 0
        assert all(xs.shape == sequences[0].shape for xs in sequences)
        assert all(np.all(np.isfinite(xs)) for xs in sequences)


def two_files_of_a_zip(path):
    try:
        assert list(map(type, _extract(path, ("a.ts", "b.ts")))) == [bytes, bytes]
    except BROKEN as error:
        # As the download does, which knows where the files belong.
        raise ValueError(f"`{path}` is refused") from error


def a_face(path):
    face = _read(path)
    assert face.shape == (32, 32, 3) and face.dtype == np.uint8


def a_list_of_parts(path):
    assert set(_read_list(path).values()) <= {0, 1, 2}


# What reads a file, how its name ends, right files, and what wrong ones may be made of.
FORMATS = {
    "csv": (
        a_table,
        ".csv",
        (FULL, gzip.compress(FULL, mtime=0)),
        b',;\t\n\r"? .-+e_0123abdnif\x00',
    ),
    "filled csv": (a_filled_table, ".csv", (CSV,), b',\n\r"?nan \x00e19._'),
    "series": (a_series, ".csv", (LONG,), b",\n1239.e-"),
    "series npz": (
        a_series,
        ".npz",
        (archive(data=np.arange(20.0)), packed()),
        b"PK\x00\x01\x02{}()',<f8",
    ),
    "npz": (
        some_arrays,
        ".npz",
        (archive(x=np.arange(6), y=np.array(["a", "b"])), packed()),
        b"PK\x03\x04\x00\x01\x08\xff{}()[]'descr,<>fO|8",
    ),
    "uea npz": (a_set_of_arrays, ".npz", (UEA,), b"PK\x03\x04\x00\x01\xff{}()',<f8U1"),
    "uea zip": (
        two_files_of_a_zip,
        ".zip",
        (ZIP,),
        b"PK\x01\x02\x03\x04\x00\x08\xff/.ab",
    ),
    "ts": (a_set_of_cases, ".ts", (TS,), b"@data\n:,?0123ab #eNninf.-\x00\x85"),
    "idx": (
        an_array_of_bytes,
        "",
        (IDX, gzip.compress(IDX, mtime=0)),
        b"\x00\x01\x02\x03\x08\xff",
    ),
    "jpg": (a_face, ".jpg", (jpeg(),), b"\xff\xd8\xe0\x00\xc0\xc4\xda\xd9"),
    "list": (a_list_of_parts, ".txt", (LIST,), b"012 \n\t.jpg\x00\r"),
}


def changed(rights, alphabet):
    """Returns a strategy of bytes: any, of an alphabet, and right files with mistakes."""
    piece = st.one_of(
        st.binary(max_size=4),
        st.lists(st.sampled_from(alphabet), max_size=6).map(bytes),
    )

    @st.composite
    def mistaken(draw):
        text = draw(st.sampled_from(rights))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(text)))
            stop = min(len(text), start + draw(st.integers(0, 12)))
            text = text[:start] + draw(piece) + text[stop:]
        return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text

    letters = st.lists(st.sampled_from(alphabet), max_size=60).map(bytes)
    any_bytes, right = st.binary(max_size=80), st.sampled_from(rights)
    return st.one_of(any_bytes, letters, right, mistaken(), mistaken(), mistaken())


@contextlib.contextmanager
def reading(name):
    """Gives what reads bytes as a file of a format, and checks what comes of it."""
    read, end, *_ = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"x{end}"
        outcomes = set()

        def check(text):
            path.write_bytes(text)
            try:
                read(path)
                outcomes.add("right")
            except ValueError as error:
                # Ours, not one that came from below.
                assert str(error).startswith(f"`{path}"), error
                outcomes.add("refused")
            assert os.listdir(folder) == [path.name]

        yield check
        # Tries that only ever fail, or never, would show nothing.
        assert outcomes == {"right", "refused"}


@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_give_an_error_or_a_right_result(name):
    with reading(name) as check:
        settings = hypothesis.settings(
            max_examples=60, deadline=None, derandomize=True, database=None
        )
        settings(hypothesis.given(changed(*FORMATS[name][2:]))(check))()


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_bytes_give_an_error_or_a_right_result(name):
    (_, _, rights, alphabet), noise = FORMATS[name], random.Random(0)
    with reading(name) as check:
        for count in range(FUZZ):
            text = mistaken(rights, alphabet, noise)
            try:
                check(text)
            except Exception as error:
                raise AssertionError(f"file {count} of {name}: {text!r}") from error


CELLS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-999, 999).map(str),
)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.data())
def test_a_table_says_what_pythons_own_reader_does(data):
    columns = data.draw(st.integers(1, 4))
    rows = data.draw(st.lists(st.tuples(*[CELLS] * columns), min_size=1, max_size=5))
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=data.draw(st.sampled_from((0, 1))))
    writer.writerows([[f"c{i}" for i in range(columns)], *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.csv"
        path.write_text(stream.getvalue(), newline="")
        names, values, _ = read_csv(path)
    assert names == tuple(f"c{i}" for i in range(columns))
    np.testing.assert_array_equal(values, [[float(x) for x in row] for row in rows])


@pytest.mark.parametrize(
    "name", ("../up.npy", "/tmp/warp_jax_escape.npy", "a/../../b.npy")
)
def test_no_name_in_an_archive_is_a_path(name, tmp_path):
    inner = tmp_path / "deep" / "deeper"
    inner.mkdir(parents=True)
    stream = io.BytesIO()
    np.save(stream, np.arange(20.0))
    with zipfile.ZipFile(inner / "x.npz", "w") as file:
        file.writestr(name, stream.getvalue())
    before = sorted(tmp_path.rglob("*"))
    assert len(load_file(inner / "x.npz").rows) == 20
    assert sorted(tmp_path.rglob("*")) == before
    assert not pathlib.Path("/tmp/warp_jax_escape.npy").exists()


def test_a_head_that_promises_too_much_is_refused(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (10**13, 8)}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("data.npy", stream.getvalue())
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"x\.npz` needs"):
        warnings.simplefilter("error")
        load_file(tmp_path / "x.npz")
    assert math.prod((10**13, 8)) > 2**46
