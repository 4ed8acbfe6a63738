"""MNIST, handwritten digits, and Fashion-MNIST, pieces of clothing: 28 x 28 grey pixels.

LeCun, Bottou, Bengio and Haffner 1998, Proceedings of the IEEE; commonly stated as CC BY-SA
3.0. Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747; MIT licence.
"""

import hashlib
import pathlib
from typing import NamedTuple

import numpy as np

from .arrays import read_arrays
from .download import Fetcher
from .idx import read_idx
from .images import cut_off, Images, Pictures
from .raw import read_bytes


KEYS = "x_train", "y_train", "x_test", "y_test"
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLASSES = 10
VALIDATION = 10


class Source(NamedTuple):
    """- `name`: of the data set, and of the `.npz` file.
    - `folders`: where its files may lie, inside of the folder of data sets.
    - `url`: where they come from, in gzip.
    - `md5`: of these, in the order of `FILES`.
    - `labels`: MD5 of its training labels out of gzip: files of both sets have one name.
    """

    name: str
    folders: tuple[str, ...]
    url: str
    md5: tuple[str, str, str, str]
    labels: str


MNIST = Source(
    "mnist",
    ("mnist", "MNIST/raw", "."),
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "a25bea736e30d166cdddb491f175f624",
)
FASHION = Source(
    "fashion-mnist",
    ("fashion-mnist", "FashionMNIST/raw", "."),
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "9018921c3c673c538a1fc5bad174d6f9",
)


def load_mnist(folder: pathlib.Path) -> Images:
    """Returns 60 000 pictures of digits, a tenth of them for validation, and the official
    10 000 for the test.

    - `folder`: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, plain or in gzip as `.gz`,
        itself or in its folder `mnist` or `MNIST/raw`; or `mnist.npz` with `x_train`
        `(examples, height, width)`, `y_train`, `x_test` and `y_test`, all of bytes. Where
        it does not, the files are downloaded to `mnist`.

    **Raises:** `ValueError` for files that cannot be had, or are not such a data set.
    """
    return _load(MNIST, folder)


def load_fashion_mnist(folder: pathlib.Path) -> Images:
    """Returns the same of clothes: `load_mnist` with `fashion-mnist` or `FashionMNIST/raw`
    for folders, and `fashion-mnist.npz`. The folder of Debian's package
    dataset-fashion-mnist, /usr/share/datasets, does as it is.
    """
    return _load(FASHION, folder)


def _load(source: Source, folder: pathlib.Path) -> Images:
    single = folder / f"{source.name}.npz"
    if files := _find(source, folder):
        where = files
        arrays = [read_idx(path, axes) for path, axes in zip(files, (3, 1, 3, 1))]
    elif single.is_file():
        where = [single] * len(KEYS)
        arrays = read_arrays(single, KEYS)
    else:
        where = _download(source, folder)
        arrays = [read_idx(path, axes) for path, axes in zip(where, (3, 1, 3, 1))]
    train = _pictures(where[0], where[1], *arrays[:2])
    test = _pictures(where[2], where[3], *arrays[2:])
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise ValueError(
            f"`{where[2]}` needs pictures of {train.pixels.shape[1:3]} pixels, as for "
            f"training; got {test.pixels.shape[1:3]}. Both must be of one data set."
        )
    if len(train.labels) < VALIDATION:
        raise ValueError(
            f"`{where[0]}` needs at least {VALIDATION} pictures, one of them for "
            f"validation; got {len(train.labels)}. Get it again."
        )
    return Images(source.name, *cut_off(train, VALIDATION), test)


def _find(source: Source, folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the four files, in the order of `FILES`, or none of them."""
    for place in source.folders:
        paths = [
            next((p for p in _either(folder / place / file) if p.is_file()), None)
            for file in FILES
        ]
        if found := [path for path in paths if path]:
            if len(found) < len(FILES):
                missing = ", ".join(f for f, path in zip(FILES, paths) if not path)
                raise ValueError(
                    f"`{found[0]}` needs {missing} beside it, plain or as .gz. Get all "
                    f"four from {source.url}, or none to have them downloaded."
                )
            _check_labels(source, found[1])
            return found
    return []


def _either(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return path, path.with_name(f"{path.name}.gz")


def _check_labels(source: Source, path: pathlib.Path) -> None:
    digest = hashlib.md5(read_bytes(path), usedforsecurity=False).hexdigest()
    for other in (MNIST, FASHION):
        if other is not source and digest == other.labels:
            raise ValueError(
                f"`{path}` is of {other.name}, not of {source.name}. Keep each in a folder "
                f"of its own name, {source.folders[0]} and {other.folders[0]}."
            )


def _download(source: Source, folder: pathlib.Path) -> list[pathlib.Path]:
    target = folder / source.folders[0]
    # One of four files would be taken for a set with three missing.
    parts = target / ".download"
    names = [f"{file}.gz" for file in FILES]
    registry = {name: f"md5:{md5}" for name, md5 in zip(names, source.md5)}
    try:
        fetcher = Fetcher(parts, source.url, registry)
        fetched = [fetcher.fetch(name) for name in names]
        found = [path.replace(target / path.name) for path in fetched]
        parts.rmdir()
        return found
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`{source.name}` is not in {folder}, and {source.url} cannot be used: {error}."
            f" Put {', '.join(names)} in {target} by hand, or give the folder that has them"
            " as `--data DIR`."
        ) from error


def _pictures(
    images_path: pathlib.Path,
    labels_path: pathlib.Path,
    pixels: np.ndarray,
    labels: np.ndarray,
) -> Pictures:
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype != np.uint8:
        raise ValueError(
            f"`{images_path}` needs pictures (examples, height, width) of bytes; got "
            f"{pixels.shape} of {pixels.dtype}. Save them as uint8."
        )
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`{labels_path}` needs an integer for each of the {len(pixels)} pictures; got "
            f"{labels.shape} of {labels.dtype}. Both files must be of one part."
        )
    if np.any(wrong := (labels < 0) | (labels >= CLASSES)):
        place = int(np.argmax(wrong))
        raise ValueError(
            f"`{labels_path}` needs labels from 0 to {CLASSES - 1}; got {labels[place]} at "
            f"number {place}. Get it again."
        )
    return Pictures(pixels[..., None], labels.astype(np.int32))
