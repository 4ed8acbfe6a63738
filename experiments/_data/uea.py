"""The UEA archive of multivariate time series classification.

Bagnall et al. 2018, arXiv 1811.00075; https://www.timeseriesclassification.com. Free for
research; cite the archive and the donor that the head of each file names.
"""

import hashlib
import pathlib
import re
import zipfile

import numpy as np

from .._folder import write
from .arrays import BROKEN, finite_numbers, read_arrays
from .dataset import Dataset, Split
from .download import Fetcher
from .ts_format import Cases, read_ts


URL = "https://www.timeseriesclassification.com/aeon-toolkit/"
# Those of the pooled splits that results are published for.
SEEDS = 2345, 3456, 4567, 5678, 6789
KEYS = ("x_train", "y_train", "x_test", "y_test")
# Of the training and the test file's cases, to tell a download that differs from the data
# that results were measured on. Copies differ in their comments and line ends.
SHA256 = {
    "AtrialFibrillation": (
        "d16b0530f2bc2b87b348180a3fdf30384252022824bf62ef246a227b0b7b7a39",
        "a6968d8045a0cc8f6b96821fcd30191f780a66e3c1635a78396130bb2b1b2953",
    ),
    "BasicMotions": (
        "e45fd2f102b1c51bb7dac341fe650eb04deda689095e33f09c7a56a370f0fc42",
        "376154794f568aa201d3931c5ad49d20efcf4ca673a120ef3e672f7998e694bc",
    ),
    "JapaneseVowels": (
        "46876cd24e85076b3ab0ac733506adc3bcffe04e28a851571a4aec9492a2bc10",
        "0109e716915f3b1d4ec8ab3a5a5e152688dda1cd5fdb312868f9876eebed941e",
    ),
    "Libras": (
        "4cbbc80cc3e039994bc52152a6e79698273816e32b8fe75b0218c386e9f645aa",
        "c6d46b44f5e414061ef1f1442067f95d3fe21af1a54c198762429345854bd5f8",
    ),
    "PenDigits": (
        "b7d070f71c84d55aa0a4921b05a74a514786527c2fd5ecdaf2d7ae80409351b9",
        "8685a86c5500416688efac397b8e136925b765b8781de13ab5b22b0d7caf2b58",
    ),
    "RacketSports": (
        "3529c3e2a6460d7c8f07bdeee36f169070bd1cd319f121cc210edc550a2a380d",
        "453862fb1b2fa89eae9f5eccde5c9e89cae18ee898411642ef909c62c7d58e33",
    ),
    "StandWalkJump": (
        "3dfce6d234ddad9e2d15af0f1163797b4691fbb2da226451984fda4af4018f0d",
        "31bf135820a35df0eedd1d3aa3eff98236a1de7911c121e91352e11f2b7d7f5f",
    ),
    "UWaveGestureLibrary": (
        "a3d89723aea0cdf70d84496d8b51b3fbfc66915f23bd2f257157c6b1b8f178ed",
        "21d0867acaed0bcc7ff8371111e2c5cef1153219d92cc4e9ebada851823ea953",
    ),
}


def load_uea(name: str, folder: pathlib.Path, pooled: int | None = None) -> Dataset:
    """Returns a data set of the archive, with its official test set or a pooled split.

    Of the official training set a quarter of every class, rounded down, is kept for
    validation, the same one always.

    Channels are standardised by what is left for training. Sequences of unequal length are
    padded at the end and have a `mask`. A missing value is the last one before it in its
    channel, or the mean of the channel in the training part where none was before it.

    **Arguments:**

    - `name`: as in the archive, `BasicMotions`.
    - `folder`: holds `NAME_TRAIN.ts` and `NAME_TEST.ts`, or `NAME.npz` with `x_train`
        `(examples, time, channels)`, `y_train`, `x_test` and `y_test`; itself, or in its
        folder `uea` or `NAME`. Where it does not, the files are downloaded to `uea`.
    - `pooled`: a seed, by which all cases of both files are shuffled and cut 70:15:15,
        rounded down; classes are not balanced. Cases that are there twice count once, for
        they would be in two parts. Results are published for `SEEDS`; the rule is theirs
        (Walker et al. 2024, arXiv 2402.18512), the random numbers are not. By default the
        official split.

    **Raises:** `ValueError` for files that cannot be had, or are not such a data set.
    """
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(
            f"`--dataset {name}` needs `digits` or a name of the UEA archive, letters and "
            "digits, as BasicMotions."
        )
    files = _find(name, folder) or _download(name, folder)
    first, *rest = files
    train, test = (read_ts(first), read_ts(rest[0])) if rest else _read_npz(first)
    where = " and ".join(map(str, files))
    channels = {xs.shape[1] for cases in (train, test) for xs in cases[0]}
    if len(channels) > 1:
        raise ValueError(
            f"{where} need one number of channels; got {sorted(channels)}."
        )
    if pooled is None:
        parts = _official(train, test, where)
    else:
        parts = _pooled(_once(train, test), pooled, where)
    classes = sorted({label for part in parts for label in part[1]})
    length = max(len(xs) for sequences, _ in parts for xs in sequences)
    train, kept, test = (_padded(cases, classes, length) for cases in parts)
    return _standardised(Dataset(name, train, kept, test), where)


def _official(train: Cases, test: Cases, where: str) -> tuple[Cases, Cases, Cases]:
    if unknown := set(test[1]) - set(train[1]):
        raise ValueError(
            f"{where} need test labels that the training set has too; got "
            f"{sorted(unknown)[:5]}. Both must be of one data set."
        )
    fitted, kept = _stratified(np.array(train[1]), where)
    return _take(train, fitted), _take(train, kept), test


def _once(train: Cases, test: Cases) -> Cases:
    """Returns the cases of both, each sequence once."""
    first = {}
    for xs, label in zip(train[0] + test[0], train[1] + test[1]):
        first.setdefault((xs.shape, xs.tobytes()), (xs, label))
    return [xs for xs, _ in first.values()], [label for _, label in first.values()]


def _pooled(cases: Cases, seed: int, where: str) -> tuple[Cases, Cases, Cases]:
    if seed < 0:
        raise ValueError(f"`load_uea(pooled={seed})` needs a seed of at least 0.")
    count = len(cases[1])
    stops = count * 70 // 100, count * 85 // 100
    order = np.random.default_rng(seed).permutation(count)
    first, second, third = np.split(order, stops)
    if not len(first) or not len(second):
        raise ValueError(
            f"{where} need four different cases for a pooled split; got {count}."
        )
    return _take(cases, first), _take(cases, second), _take(cases, third)


def _take(cases: Cases, which: np.ndarray) -> Cases:
    sequences, labels = cases
    return [sequences[i] for i in which], [labels[i] for i in which]


def _find(name: str, folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the two `.ts` files, or the one `.npz`, or nothing."""
    for place in (folder / "uea", folder, folder / name, folder / "uea" / name):
        pair = place / f"{name}_TRAIN.ts", place / f"{name}_TEST.ts"
        if all(path.is_file() for path in pair):
            return pair
        if (single := place / f"{name}.npz").is_file():
            return (single,)
    return ()


def _download(name: str, folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the two `.ts` files, taken from the archive's zip file."""
    archive, target = f"{name}.zip", folder / "uea"
    parts = f"{name}_TRAIN.ts", f"{name}_TEST.ts"
    try:
        downloaded = Fetcher(target, URL, {archive: None}).fetch(archive)
        try:
            texts = _extract(downloaded, parts)
        finally:
            # Whatever is wrong with it, the next attempt begins anew.
            downloaded.unlink()
        for part, text in zip(parts, texts):
            write(target / part, text)
    except BROKEN as error:
        raise ValueError(
            f"`--dataset {name}` is not in {folder}, and {URL}{archive} cannot be used: "
            f"{error}. Check the name, or put {parts[0]} and {parts[1]}, or {name}.npz, "
            f"in {target} by hand, or give the folder that has them as `--data DIR`."
        ) from error
    return target / parts[0], target / parts[1]


def _extract(archive: pathlib.Path, parts: tuple[str, str]) -> list[bytes]:
    """Returns the contents of the two files, checked where their checksum is known."""
    with zipfile.ZipFile(archive) as opened:
        members = {pathlib.PurePath(path).name: path for path in opened.namelist()}
        if missing := set(parts) - set(members):
            raise ValueError(f"it holds no {' and no '.join(sorted(missing))}")
        texts = [opened.read(members[part]) for part in parts]
    known = SHA256.get(archive.stem, (None, None))
    for part, text, wanted in zip(parts, texts, known):
        if wanted and cases_sha256(text) != wanted:
            raise ValueError(
                f"the cases of {part} have another checksum than those that are known"
            )
    return texts


def cases_sha256(text: bytes) -> str:
    """Returns the checksum of a `.ts` file's lines after `@data`."""
    lines = [line.strip() for line in text.splitlines()]
    starts = [i for i, line in enumerate(lines, 1) if line.lower() == b"@data"]
    cases = lines[starts[0] :] if starts else []
    return hashlib.sha256(b"\n".join(filter(None, cases))).hexdigest()


def _read_npz(path: pathlib.Path) -> tuple[Cases, Cases]:
    arrays = read_arrays(path, KEYS)
    return _cases(path, "train", *arrays[:2]), _cases(path, "test", *arrays[2:])


def _cases(path: pathlib.Path, part: str, xs: np.ndarray, ys: np.ndarray) -> Cases:
    if xs.ndim != 3 or 0 in xs.shape or ys.shape != xs.shape[:1]:
        raise ValueError(
            f"`{path}` needs x_{part} of shape (examples, time, channels) and y_{part} of "
            f"shape (examples,); got {xs.shape} and {ys.shape}."
        )
    with np.errstate(over="ignore"):
        single = finite_numbers(path, f"x_{part}", xs).astype(np.float32)
    finite_numbers(path, f"x_{part}", single)
    return list(single), [str(y) for y in ys]


def _padded(cases: Cases, classes: list[str], length: int) -> Split:
    sequences, labels = cases
    lengths = np.array([len(xs) for xs in sequences])
    xs = np.stack([np.pad(xs, ((0, length - len(xs)), (0, 0))) for xs in sequences])
    mask = np.arange(length) < lengths[:, None]
    return Split(xs, np.searchsorted(classes, labels).astype(np.int32), mask)


def _stratified(labels: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices to train on and those to validate on: of each class a quarter,
    rounded down.
    """
    random = np.random.default_rng(0)
    kept = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        kept.append(members[: len(members) // 4])
    chosen = np.sort(np.concatenate(kept))
    if not len(chosen):
        raise ValueError(
            f"{where} need four training examples of a class, one of them for validation."
        )
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def _standardised(data: Dataset, where: str) -> Dataset:
    """Gives every channel mean 0 and deviation 1 over the valid steps of the training part,
    and fills in what is missing. Padding becomes 0, and masks go where nothing is padded.
    """
    assert data.train.mask is not None
    valid = data.train.xs[data.train.mask].astype(np.float64)
    if len(empty := np.flatnonzero(np.all(np.isnan(valid), axis=0))):
        raise ValueError(
            f"{where} need a value for training in every channel; got none in {empty + 1}. "
            "Leave them out."
        )
    mean, std = np.nanmean(valid, axis=0), np.nanstd(valid, axis=0)
    std = np.where(std > 1e-6 * np.maximum(1, np.abs(mean)), std, 1.0)
    every = all(np.all(part.mask) for part in data.parts)

    def change(part: Split) -> Split:
        assert part.mask is not None
        xs = _carried((part.xs - mean) / std)
        xs = np.where(part.mask[..., None], xs, 0)
        return Split(xs.astype(np.float32), part.labels, None if every else part.mask)

    train, validation, test = map(change, data.parts)
    return Dataset(data.name, train, validation, test)


def _carried(xs: np.ndarray) -> np.ndarray:
    """Returns sequences in which a missing value is the one before it, or 0."""
    gaps = np.isnan(xs)
    if not np.any(gaps):
        return xs
    steps = np.arange(xs.shape[1])[:, None]
    last = np.maximum.accumulate(np.where(gaps, -1, steps), axis=1)
    carried = np.take_along_axis(xs, np.maximum(last, 0), axis=1)
    return np.where(last < 0, 0, carried)
