"""The loader of the UEA archive."""

import functools
import gc
import http.server
import os
import pathlib
import threading
import zipfile

import numpy as np
import pytest

from experiments._data import data_folder, download, load_uea, uea
from experiments._data.ts_format import read_ts
from experiments._tasks import Classification

from .helpers import assert_close, make_model


REAL = pathlib.Path(
    os.environ.get("WARP_JAX_DATA")
    or pathlib.Path(__file__).parents[2] / "shared" / "data"
)
real = pytest.mark.skipif(
    not (REAL / "uea").is_dir(), reason=f"needs real data in {REAL / 'uea'}"
)
HEADER = (
    "#Comment\n@problemName Toy\n@timeStamps false\n@missing false\n"
    "@univariate false\n@dimensions 2\n@equalLength false\n@classLabel true a b\n@data\n"
)


def cases(count, seed, lengths=(4,), channels=2, classes="ab"):
    """Returns lines of a `.ts` file, classes in turn."""
    random = np.random.default_rng(seed)
    lines = []
    for i in range(count):
        xs = random.normal(3, 2, (channels, lengths[i % len(lengths)]))
        texts = [",".join(f"{x:.4f}" for x in row) for row in xs]
        lines.append(":".join([*texts, classes[i % len(classes)]]))
    return lines


def write(folder, name="Toy", train=None, test=None, header=HEADER):
    folder.mkdir(parents=True, exist_ok=True)
    train = cases(12, 0) if train is None else train
    test = cases(4, 1) if test is None else test
    for part, lines in (("TRAIN", train), ("TEST", test)):
        (folder / f"{name}_{part}.ts").write_text(header + "\n".join(lines) + "\n")


def test_a_file_gives_its_sequences_and_labels(tmp_path):
    text = HEADER + "1,2.5,-3e-1: 4 ,5,6:a\n\n7:8:b\n"
    path = tmp_path / "x.ts"
    # Comments may be in any encoding, line ends of any kind, marks of UTF-8 in front.
    head = b"\xef\xbb\xbf#S\xe3o \x85Paulo\n"
    path.write_bytes(head + text.replace("\n", "\r\n").encode())
    sequences, labels = read_ts(path)
    assert labels == ["a", "b"]
    np.testing.assert_array_equal(
        sequences[0], np.array([[1, 4], [2.5, 5], [-0.3, 6]], np.float32)
    )
    assert [xs.shape for xs in sequences] == [(3, 2), (1, 2)]
    assert sequences[0].dtype == np.float32


def test_a_word_of_the_header_may_say_nothing(tmp_path):
    text = HEADER.replace("@missing false", "@missing") + "1,2:3,?:a\n"
    (tmp_path / "x.ts").write_text(text)
    sequences, labels = read_ts(tmp_path / "x.ts")
    assert labels == ["a"] and np.isnan(sequences[0]).sum() == 1


@pytest.mark.parametrize(
    "change, line, fragment",
    (
        (lambda t: t.replace("@data\n", ""), 9, "needs `@data` before the cases"),
        (lambda t: "step,value\n0,1\n", 1, "needs `@data` before the cases"),
        (lambda t: "", None, "got none"),
        (lambda t: HEADER, None, "got none"),
        (lambda t: t.replace("@classLabel true", "@classLabel false"), None, "CLASS"),
        (lambda t: t.replace("@timeStamps false", "@timeStamps true"), 3, "times"),
        (lambda t: t + "1,2:3:a\n", 12, "lengths [2, 1]"),
        (lambda t: t + "1,2:a\n", 12, "needs 2 channels, as said before; got 1"),
        (lambda t: t + "1:2:3:a\n", 12, "needs 2 channels, as said before; got 3"),
        (lambda t: t.replace("@dimensions 2\n", "") + "1:a\n", 11, "needs 2 channels"),
        (lambda t: t + "1,?:2,3:a\n", 12, "missing value, number 2 of channel 1"),
        (lambda t: t + "1,2:2,:a\n", 12, "got '' in channel 2"),
        (lambda t: t + "1,2:NaN,3:a\n", 12, "missing value, number 1 of channel 2"),
        (lambda t: t + ":2:a\n", 12, "got '' in channel 1"),
        (lambda t: t.replace("missing f", "missing t") + "?,x:2,?:a\n", 12, "got 'x'"),
        (lambda t: t + "1,2:inf,3:a\n", 12, "got 'inf' in channel 2"),
        (lambda t: t + "1,2:1e39,3:a\n", 12, "got '1e39' in channel 2"),
        (lambda t: t + "1,two:2,3:a\n", 12, "got 'two' in channel 1"),
        (lambda t: t + "(0,1),(1,2):(0,1),(1,2):a\n", 12, "got '(0' in channel 1"),
        (lambda t: t + "1,2:2,3:c\n", 12, "of its header (a, b); got 'c'"),
        (lambda t: t + "1,2:2,3\n", 12, "of its header (a, b); got '2,3'"),
        (lambda t: t + "a\n", 12, "parted by colons"),
        (
            lambda t: t.replace("@equalLength false", "@equalLength true") + "1:2:a\n",
            12,
            "needs 2 steps",
        ),
    ),
)
def test_a_malformed_file_is_refused_by_its_line(change, line, fragment, tmp_path):
    path = tmp_path / "x.ts"
    path.write_text(change(HEADER + "1,2:3,4:a\n5,6:7,8:b\n"))
    with pytest.raises(ValueError) as caught:
        read_ts(path)
    place = f"`{path}`" if line is None else f"`{path}:{line}`"
    assert place in str(caught.value) and fragment in str(caught.value)


def test_channels_are_standardised_by_the_training_part_alone(tmp_path):
    write(tmp_path)
    data = load_uea("Toy", tmp_path)
    flat = data.train.xs.reshape(-1, 2)
    assert np.abs(flat.mean(0)).max() < 1e-6 and np.abs(flat.std(0) - 1).max() < 1e-6
    write(tmp_path, test=cases(4, 2))
    other = load_uea("Toy", tmp_path)
    np.testing.assert_array_equal(data.train.xs, other.train.xs)
    np.testing.assert_array_equal(data.validation.xs, other.validation.xs)
    # The shift and the scale that made the training part make the test part too.
    raw = np.stack(read_ts(tmp_path / "Toy_TEST.ts")[0])
    scale = raw[0].std(0) / other.test.xs[0].std(0)
    shift = raw[0].mean(0) - scale * other.test.xs[0].mean(0)
    np.testing.assert_allclose(other.test.xs * scale + shift, raw, atol=1e-4)
    train = np.stack(read_ts(tmp_path / "Toy_TRAIN.ts")[0])
    apart = np.abs((other.train.xs * scale + shift)[:, None] - train)
    assert np.all(apart.max((2, 3)).min(1) < 1e-4)


def test_a_constant_channel_becomes_zero(tmp_path):
    lines = [line.split(":")[0] + ":5,5,5,5:" + line[-1] for line in cases(12, 0)]
    write(tmp_path, train=lines)
    data = load_uea("Toy", tmp_path)
    assert np.all(data.train.xs[..., 1] == 0) and np.all(np.isfinite(data.test.xs))


def test_validation_is_a_part_of_every_class_and_always_the_same(tmp_path):
    header = HEADER.replace("true a b", "true a b c")
    train = cases(16, 0) + cases(2, 3, classes="c")
    write(tmp_path, train=train, header=header)
    data = load_uea("Toy", tmp_path)
    assert np.bincount(data.train.labels).tolist() == [6, 6, 2]
    assert np.bincount(data.validation.labels, minlength=3).tolist() == [2, 2, 0]
    assert data.classes == 3
    rows = [xs.tobytes() for part in data[1:3] for xs in part.xs]
    assert len(set(rows)) == 18
    again = load_uea("Toy", tmp_path)
    np.testing.assert_array_equal(again.validation.xs, data.validation.xs)


def test_unequal_lengths_have_a_mask_and_padding_never_counts(tmp_path):
    write(tmp_path, train=cases(12, 0, (2, 5, 3)), test=cases(4, 1, (6, 1)))
    data = load_uea("Toy", tmp_path)
    train, test = data.train, data.test
    assert train.mask is not None and test.mask is not None
    assert test.mask.sum(1).tolist() == [6, 1, 6, 1]
    assert train.xs.shape[1] == 6 and np.all(train.xs[~train.mask] == 0)
    assert np.abs(train.xs[train.mask].mean(0)).max() < 1e-6
    assert np.all(train.take(slice(2, 4)).mask == train.mask[2:4])
    model = make_model()
    task = Classification()
    cut = task.logits(model, test.xs[1, :1])
    assert_close(task.logits(model, test.xs[1], test.mask[1]), cut)


@pytest.mark.parametrize("place", ("uea", ".", "Toy", "uea/Toy"))
def test_files_are_found_in_the_usual_places(place, tmp_path):
    write(tmp_path / place)
    assert load_uea("Toy", tmp_path).train.xs.shape == (10, 4, 2)


def arrays(**changes):
    xs, ys = np.ones((8, 4, 2)), np.array(["a", "b"] * 4)
    xs = xs * np.arange(8)[:, None, None]
    given = {"x_train": xs, "y_train": ys, "x_test": xs[:2], "y_test": ys[:2]}
    return {k: v for k, v in (given | changes).items() if v is not None}


def test_an_archive_of_arrays_does_as_well(tmp_path):
    np.savez(tmp_path / "Toy.npz", allow_pickle=True, **arrays())
    data = load_uea("Toy", tmp_path)
    assert [len(part.xs) for part in data.parts] == [6, 2, 2]
    assert data.train.mask is None and data.test.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "changes, fragment",
    (
        ({"y_test": None}, "y_test"),
        ({"x_test": np.ones((2, 4))}, "got (2, 4)"),
        ({"x_train": np.ones((0, 4, 2)), "y_train": np.zeros(0)}, "got (0, 4, 2)"),
        ({"y_test": np.array(["a"])}, "got (2, 4, 2) and (1,)"),
        ({"x_test": np.full((2, 4, 2), np.nan)}, "got nan in x_test[0, 0, 0]"),
        ({"x_test": np.full((2, 4, 2), 1e300)}, "got inf in x_test[0, 0, 0]"),
        ({"x_test": np.full((2, 4, 2), "x")}, "real numbers in x_test"),
        ({"y_train": np.array([{}] * 8)}, "needs the arrays"),
        ({"x_test": np.ones((2, 4, 3))}, "one number of channels; got [2, 3]"),
        ({"y_test": np.array(["a", "d"])}, "got ['d']"),
        ({"y_train": np.arange(8), "y_test": np.arange(2)}, "four training examples"),
    ),
)
def test_malformed_arrays_are_refused(changes, fragment, tmp_path):
    np.savez(tmp_path / "Toy.npz", **arrays(**changes))
    with pytest.raises(ValueError, match=r"Toy\.npz") as caught:
        load_uea("Toy", tmp_path)
    assert fragment in str(caught.value)


def test_what_is_no_archive_of_arrays_is_refused(tmp_path):
    (tmp_path / "Toy.npz").write_text("not a zip file")
    with pytest.raises(ValueError, match=r"Toy\.npz` needs the arrays"):
        load_uea("Toy", tmp_path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that stands for the archive's address."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Handler, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(uea, "URL", f"http://127.0.0.1:{running.server_port}/")
        monkeypatch.setattr(download, "SAFE", "http://127.0.0.1")
        yield served
        running.shutdown()
        thread.join()
        # pooch leaves the connection of a refused request to the garbage collector, which
        # would warn of it in another test.
        gc.collect()


def pack(served, *parts):
    write(served / "files")
    with zipfile.ZipFile(served / "Toy.zip", "w") as archive:
        for part in parts:
            archive.write(served / "files" / f"Toy_{part}.ts", f"Toy/Toy_{part}.ts")


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_missing_files_are_downloaded_once(server, tmp_path, monkeypatch):
    pack(server, "TRAIN", "TEST")
    known = [
        uea.cases_sha256((server / "files" / f"Toy_{part}.ts").read_bytes())
        for part in ("TRAIN", "TEST")
    ]
    monkeypatch.setitem(uea.SHA256, "Toy", tuple(known))
    folder = tmp_path / "new" / "cache"
    data = load_uea("Toy", folder)
    assert sorted(path.name for path in (folder / "uea").iterdir()) == [
        "Toy_TEST.ts",
        "Toy_TRAIN.ts",
    ]
    (server / "Toy.zip").unlink()
    np.testing.assert_array_equal(load_uea("Toy", folder).train.xs, data.train.xs)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_bad_download_says_where_to_put_the_files_and_is_not_kept(
    server, tmp_path, monkeypatch
):
    def refused(fragment):
        with pytest.raises(ValueError) as caught:
            load_uea("Toy", tmp_path / "cache")
        for part in (
            fragment,
            "Toy_TRAIN.ts",
            str(tmp_path / "cache" / "uea"),
            "--data",
        ):
            assert part in str(caught.value)
        assert not list((tmp_path / "cache" / "uea").iterdir())

    refused("404")
    (server / "Toy.zip").write_text("<html>moved</html>")
    refused("not a zip file")
    pack(server, "TRAIN")
    refused("holds no Toy_TEST.ts")
    pack(server, "TRAIN", "TEST")
    monkeypatch.setitem(uea.SHA256, "Toy", ("0", "0"))
    refused("another checksum")
    monkeypatch.delitem(uea.SHA256, "Toy")
    load_uea("Toy", tmp_path / "cache")


@pytest.mark.parametrize("name", ("", "../Toy", "Toy.zip", "a/b", "-x"))
def test_a_name_is_no_path(name, tmp_path):
    with pytest.raises(ValueError, match="--dataset"):
        load_uea(name, tmp_path)


def test_data_lies_where_asked_or_where_set_or_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARP_JAX_DATA", str(tmp_path))
    assert data_folder(tmp_path / "given") == tmp_path / "given"
    assert data_folder(None) == tmp_path
    monkeypatch.setenv("WARP_JAX_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="WARP_JAX_DATA"):
        data_folder(None)
    monkeypatch.delenv("WARP_JAX_DATA")
    assert data_folder(None).name == "warp_jax"


@real
@pytest.mark.parametrize(
    "name, counts, length, channels, classes",
    (
        ("AtrialFibrillation", (15, 15), 640, 2, 3),
        ("BasicMotions", (40, 40), 100, 6, 4),
        ("JapaneseVowels", (270, 370), 29, 12, 9),
        ("Libras", (180, 180), 45, 2, 15),
        ("NATOPS", (180, 180), 51, 24, 6),
        ("PenDigits", (7494, 3498), 8, 2, 10),
        ("RacketSports", (151, 152), 30, 6, 4),
        ("StandWalkJump", (12, 15), 2500, 4, 3),
        ("UWaveGestureLibrary", (120, 320), 315, 3, 8),
    ),
)
def test_real_sets_are_what_the_archive_says(name, counts, length, channels, classes):
    data = load_uea(name, REAL)
    train = len(data.train.xs) + len(data.validation.xs)
    assert (train, len(data.test.xs)) == counts
    assert data.train.xs.shape[1:] == (length, channels) and data.classes == classes
    assert 0.19 < len(data.validation.xs) / train < 0.26
    for part in data.parts:
        assert np.all(np.isfinite(part.xs)) and set(part.labels) == set(range(classes))
    unequal = data.train.mask is not None
    assert unequal == (name == "JapaneseVowels")
    for part, wanted in zip(("TRAIN", "TEST"), uea.SHA256.get(name, ())):
        path = REAL / "uea" / f"{name}_{part}.ts"
        assert uea.cases_sha256(path.read_bytes()) == wanted


@real
def test_the_first_value_of_a_real_set_is_that_of_its_file():
    sequences, labels = read_ts(REAL / "uea" / "RacketSports_TRAIN.ts")
    assert sequences[0][0, 0] == np.float32(1.266676)
    assert sequences[0].shape == (30, 6) and len(set(labels)) == 4
