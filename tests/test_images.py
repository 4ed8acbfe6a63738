"""Data sets of pictures: what they give, and how malformed files are refused."""

import gzip
import hashlib
import struct

import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._data import (
    Images,
    load_fashion_mnist,
    load_images,
    load_mnist,
    mnist,
    Pictures,
)
from experiments._data.idx import read_idx

from .files import DATA, real, refused


RANDOM = np.random.default_rng(0)
SIZES = {"train": 25, "t10k": 5}


def idx(array, kind=0x08):
    """Returns what an IDX file of the array holds."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.tobytes()


def made(count):
    """Returns pictures of 6 x 4 pixels, and labels."""
    pixels = RANDOM.integers(0, 256, (count, 6, 4)).astype(np.uint8)
    return pixels, (np.arange(count) % 10).astype(np.uint8)


def write(folder, **changes):
    """Writes the four files, some of them as given; returns the arrays of the others."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in SIZES.items():
        pixels, labels = made(count)
        for name, array in ((f"{part}_images", pixels), (f"{part}_labels", labels)):
            kind = "idx3" if name.endswith("images") else "idx1"
            text = changes.get(name, idx(array))
            arrays[name] = array
            if text is not None:
                path = folder / f"{name.replace('_', '-')}-{kind}-ubyte"
                path.write_bytes(text)
    return arrays


def test_a_file_gives_its_array(tmp_path):
    array = RANDOM.integers(0, 256, (3, 2, 5)).astype(np.uint8)
    for text in (idx(array), gzip.compress(idx(array), mtime=0)):
        (tmp_path / "x").write_bytes(text)
        np.testing.assert_array_equal(read_idx(tmp_path / "x", 3), array)


SOME = np.ones((3, 2, 5), np.uint8)


@pytest.mark.parametrize(
    "text, fragments",
    (
        (b"", ("00 00 08 03", "got nothing", "Give an IDX file")),
        (b"\x00\x00", ("got 00 00 and 0 more", "Give an IDX file")),
        (b"PNG and so on, for long", ("got 50 4e 47 20", "Give an IDX file")),
        (idx(SOME, 0x0D), ("got 00 00 0d 03", "Give an IDX file")),
        (idx(SOME[0]), ("got 00 00 08 02", "Give an IDX file")),
        (idx(SOME)[:10], ("6 more bytes", "Give an IDX file")),
        (idx(SOME)[:-1], ("3 x 2 x 5 bytes", "got 29", "get it again")),
        (idx(SOME) + b"x", ("3 x 2 x 5 bytes", "got 31", "get it again")),
        (idx(SOME[:0]), ("0 x 2 x 5 bytes", "more than none", "get it again")),
        (
            struct.pack(">BBBB3I", 0, 0, 8, 3, *(3 * [2**32 - 1])),
            ("4294967295 x", "got 0", "get it again"),
        ),
        (gzip.compress(idx(SOME), mtime=0)[:-12], ("cannot be read", "Get it again")),
        (b"\x1f\x8bno gzip", ("cannot be read", "Get it again")),
        (None, ("cannot be read", "Get it again")),
    ),
)
def test_a_malformed_idx_file_is_refused(text, fragments, tmp_path):
    if text is not None:
        (tmp_path / "x").write_bytes(text)
    with refused(tmp_path / "x", *fragments):
        read_idx(tmp_path / "x", 3)


def test_pixels_go_row_by_row_from_minus_one_to_one():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 3, 2)
    pixels[0, 0, 0, 0], pixels[1, 1, 2, 1] = 0, 255
    split = Pictures(pixels, np.zeros(2, np.int32)).sequences()
    assert split.xs.shape == (2, 6, 2) and split.xs.dtype == np.float32
    for n in range(2):
        for row in range(2):
            for column in range(3):
                wanted = pixels[n, row, column] / 127.5 - 1
                xs = split.xs[n, 3 * row + column]
                np.testing.assert_allclose(xs, wanted, atol=1e-7)
    assert split.xs.min() == -1 and split.xs.max() == 1
    # The levels are those that the proper bits per dimension counts.
    levels = Pictures(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), np.zeros(1))
    steps = np.diff(levels.sequences().xs[0, :, 0])
    np.testing.assert_allclose(steps, 2 / 255, rtol=1e-4)


@pytest.mark.parametrize(
    "load, place",
    (
        (load_mnist, "mnist"),
        (load_mnist, "MNIST/raw"),
        (load_mnist, "."),
        (load_fashion_mnist, "fashion-mnist"),
        (load_fashion_mnist, "FashionMNIST/raw"),
        (load_fashion_mnist, "."),
    ),
)
@pytest.mark.parametrize("zipped", (False, True))
def test_files_are_found_in_the_usual_places(load, place, zipped, tmp_path):
    arrays = write(tmp_path / place)
    if zipped:
        for path in list((tmp_path / place).iterdir()):
            path.with_name(path.name + ".gz").write_bytes(
                gzip.compress(path.read_bytes(), mtime=0)
            )
            path.unlink()
    images = load(tmp_path)
    assert [len(part.labels) for part in images[1:]] == [23, 2, 5]
    np.testing.assert_array_equal(images.test.pixels[..., 0], arrays["t10k_images"])
    np.testing.assert_array_equal(images.test.labels, arrays["t10k_labels"])
    # Validation is a part of the training file, and nothing is lost.
    both = np.concatenate([images.train.pixels, images.validation.pixels])
    found = {picture.tobytes() for picture in both}
    assert found == {picture.tobytes() for picture in arrays["train_images"]}


def test_an_archive_of_arrays_does_as_well(tmp_path):
    train, test = made(25), made(5)
    keyed = dict(zip(mnist.KEYS, (*train, *test)))
    np.savez(tmp_path / "mnist.npz", **keyed)  # pyright: ignore[reportArgumentType]
    images = load_mnist(tmp_path)
    np.testing.assert_array_equal(images.test.pixels[..., 0], test[0])
    assert images.train.labels.dtype == np.int32
    write(tmp_path / "again")
    first, second = (load_mnist(tmp_path / "again") for _ in range(2))
    np.testing.assert_array_equal(first.validation.pixels, second.validation.pixels)


def images_idx(count, height=6, width=4):
    return idx(np.ones((count, height, width), np.uint8))


@pytest.mark.parametrize(
    "changes, file, fragments",
    (
        (
            {"t10k_labels": None},
            "train-images-idx3-ubyte",
            ("needs t10k-labels-idx1-ubyte beside it", "https://"),
        ),
        (
            {"train_labels": idx(made(24)[1])},
            "train-labels-idx1-ubyte",
            ("each of the 25 pictures", "got (24,)", "one part"),
        ),
        (
            {"train_labels": idx(np.full(25, 10, np.uint8))},
            "train-labels-idx1-ubyte",
            ("from 0 to 9", "got 10 at number 0", "again"),
        ),
        (
            {"t10k_images": images_idx(5, 4, 6)},
            "t10k-images-idx3-ubyte",
            ("(6, 4) pixels", "got (4, 6)", "one data set"),
        ),
        (
            {"train_images": images_idx(3), "train_labels": idx(made(3)[1])},
            "train-images-idx3-ubyte",
            ("at least 10 pictures", "got 3", "again"),
        ),
    ),
)
def test_files_that_do_not_go_together_are_refused(changes, file, fragments, tmp_path):
    write(tmp_path / "mnist", **changes)
    with refused(tmp_path / "mnist" / file, *fragments):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    "changes, fragments",
    (
        ({"y_test": None}, ("needs the arrays", "numpy.savez")),
        ({"x_train": np.ones((25, 24))}, ("got (25, 24) of float64", "as uint8")),
        ({"x_train": np.ones((25, 6, 4))}, ("(25, 6, 4) of float64", "as uint8")),
        ({"y_train": np.ones(25)}, ("integer", "(25,) of float64", "one part")),
        ({"y_train": np.full(25, -1)}, ("got -1 at number 0", "again")),
        ({"y_train": np.array([{}] * 25)}, ("needs the arrays", "numpy.savez")),
    ),
)
def test_malformed_arrays_are_refused(changes, fragments, tmp_path):
    arrays = dict(zip(mnist.KEYS, (*made(25), *made(5)))) | changes
    given = {key: array for key, array in arrays.items() if array is not None}
    np.savez(tmp_path / "mnist.npz", allow_pickle=True, **given)
    with refused(tmp_path / "mnist.npz", *fragments):
        load_mnist(tmp_path)


def test_one_set_is_not_taken_for_the_other(tmp_path, monkeypatch):
    write(tmp_path)
    load_fashion_mnist(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "MNIST", mnist.MNIST._replace(labels=digest))
    load_mnist(tmp_path)
    with refused(path, "is of mnist, not of fashion-mnist", "Keep each in a folder"):
        load_fashion_mnist(tmp_path)


def test_files_are_downloaded_by_their_checksums(tmp_path, monkeypatch):
    seen = []

    class Fetcher:
        def __init__(self, folder, url, registry):
            assert url.startswith("https://")
            assert all(sum_.startswith("md5:") for sum_ in registry.values())
            self.folder, self.registry = folder, registry

        def fetch(self, name):
            assert name in self.registry
            seen.append(name)
            self.folder.mkdir(parents=True, exist_ok=True)
            source = tmp_path / "served" / name.removesuffix(".gz")
            (self.folder / name).write_bytes(
                gzip.compress(source.read_bytes(), mtime=0)
            )
            return self.folder / name

    monkeypatch.setattr(
        mnist,
        "Fetcher",
        lambda folder, url, registry: Fetcher(folder, url, registry),
    )
    write(tmp_path / "served")
    (tmp_path / "cache").mkdir()
    images = load_mnist(tmp_path / "cache")
    assert len(seen) == 4
    again = load_mnist(tmp_path / "cache")
    assert len(seen) == 4
    np.testing.assert_array_equal(images.train.pixels, again.train.pixels)
    (tmp_path / "served" / "t10k-labels-idx1-ubyte").unlink()
    (tmp_path / "empty").mkdir()
    with refused("fashion-mnist", "zalandoresearch", str(tmp_path / "empty"), "--data"):
        load_fashion_mnist(tmp_path / "empty")
    # Three of the four came, and the next attempt goes on.
    write(tmp_path / "served")
    load_fashion_mnist(tmp_path / "empty")
    names = {path.name for path in (tmp_path / "empty" / "fashion-mnist").iterdir()}
    assert names == {f"{file}.gz" for file in mnist.FILES}


@real("mnist.npz")
def test_mnist_is_complete():
    images = load_mnist(DATA)
    assert [part.pixels.shape for part in images[1:]] == [
        (54_000, 28, 28, 1),
        (6_000, 28, 28, 1),
        (10_000, 28, 28, 1),
    ]
    assert images.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    with np.load(DATA / "mnist.npz") as file:
        arrays = [file[key] for key in mnist.KEYS]
    # The four official files, out of gzip.
    for array, digest in zip(
        arrays,
        (
            "6bbc9ace898e44ae57da46a324031adb",
            mnist.MNIST.labels,
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ):
        assert hashlib.md5(idx(array)).hexdigest() == digest
    test = images.dataset().test
    assert test.xs.shape == (10_000, 784, 1) and test.xs.dtype == np.float32
    row = arrays[2][0, 7] / 127.5 - 1
    np.testing.assert_allclose(test.xs[0, 7 * 28 : 8 * 28, 0], row, atol=1e-6)


def test_batches_are_those_of_the_whole_data_set():
    parts = [
        Pictures(x[..., None], y.astype(np.int32)) for x, y in map(made, (25, 2, 5))
    ]
    images = Images("made", *parts)
    data = images.dataset()
    assert data.scale is not None and data.centre is not None
    unit = data.test.xs * data.scale.astype(np.float32) + data.centre
    np.testing.assert_allclose(
        unit[0, :, 0], parts[2].pixels[0].ravel() / 255, atol=1e-6
    )
    lean = images.batches(4, key=jr.key(1))
    whole = wj.Batches(data.train, 4, key=jr.key(1))
    for step in (0, 5, 6, 20):
        np.testing.assert_array_equal(lean(step).xs, whole(step).xs)
        np.testing.assert_array_equal(lean(step).labels, whole(step).labels)
    with pytest.raises(ValueError, match="at most the 25 examples"):
        images.batches(26, key=jr.key(1))


def test_sets_are_found_by_their_names(tmp_path):
    write(tmp_path / "mnist")
    write(tmp_path / "fashion-mnist")
    for name in ("mnist", "fashion-mnist"):
        assert load_images(name, tmp_path).name == name
    with pytest.raises(ValueError, match=r"`--dataset x` needs one of mnist, fashion-"):
        load_images("x", tmp_path)
