"""The archive's pooled splits and missing values, and another reader of its files."""

import warnings

import numpy as np
import pytest

from experiments._data import load_uea, SEEDS
from experiments._data.ts_format import read_ts

from .files import DATA, real
from .test_uea import cases, HEADER, write


def counts(data):
    return [len(part.xs) for part in data.parts]


def rows(part):
    return [xs.tobytes() for xs in part.xs]


def test_a_pooled_split_takes_from_both_files_and_depends_on_its_seed_alone(tmp_path):
    write(tmp_path, train=cases(14, 0), test=cases(6, 1))
    one, same = (load_uea("Toy", tmp_path, pooled=2345) for _ in range(2))
    other = load_uea("Toy", tmp_path, pooled=3456)
    assert counts(one) == counts(other) == [14, 3, 3]
    for first, second in zip(one.parts, same.parts):
        np.testing.assert_array_equal(first.xs, second.xs)
        np.testing.assert_array_equal(first.labels, second.labels)
    assert rows(one.train)[0] != rows(other.train)[0]
    # By hand: the order that the seed gives of the cases of both files.
    sequences, labels = [], []
    for part in ("TRAIN", "TEST"):
        found = read_ts(tmp_path / f"Toy_{part}.ts")
        sequences, labels = sequences + found[0], labels + found[1]
    order = np.random.default_rng(2345).permutation(20)
    fitted = np.concatenate([sequences[i] for i in order[:14]]).astype(np.float64)
    wanted = (sequences[order[17]] - fitted.mean(0)) / fitted.std(0)
    np.testing.assert_allclose(one.test.xs[0], wanted, atol=1e-5)
    assert one.test.labels.tolist() == ["ab".index(labels[i]) for i in order[17:]]


def test_a_case_that_is_there_twice_is_in_one_part_of_a_pooled_split(tmp_path):
    write(tmp_path, train=cases(14, 0), test=cases(14, 0)[:8] + cases(6, 1))
    for seed in SEEDS:
        data = load_uea("Toy", tmp_path, pooled=seed)
        assert counts(data) == [14, 3, 3]
        assert len({row for part in data.parts for row in rows(part)}) == 20


def test_a_class_may_be_absent_from_the_training_part_of_a_pooled_split(tmp_path):
    header = HEADER.replace("true a b", "true a b c")
    rare = cases(1, 3, classes="c")
    write(tmp_path, train=cases(14, 0) + rare, test=cases(5, 1), header=header)
    for seed in SEEDS:
        data = load_uea("Toy", tmp_path, pooled=seed)
        assert data.classes == 3
        assert sum(np.count_nonzero(part.labels == 2) for part in data.parts) == 1


def test_a_pooled_split_that_cannot_be_is_refused(tmp_path):
    write(tmp_path, train=cases(2, 0), test=cases(1, 1))
    with pytest.raises(ValueError, match=r"Toy_TRAIN\.ts.*four different cases.*got 3"):
        load_uea("Toy", tmp_path, pooled=2345)
    with pytest.raises(ValueError, match=r"`load_uea\(pooled=-1\)` needs a seed"):
        load_uea("Toy", tmp_path, pooled=-1)


MISSING = HEADER.replace("@missing false", "@missing true")


@pytest.mark.parametrize("header", (MISSING, HEADER.replace("@missing false\n", "")))
def test_missing_values_are_carried_on_from_the_past_alone(header, tmp_path):
    test = ["?,1,?,4,NaN:5,?,6,7,8:a", "?,?:1,?:b"]
    write(tmp_path, test=test, header=header)
    data = load_uea("Toy", tmp_path)
    whole = [line.replace("?,1,?,4,NaN", "0,1,1,4,4") for line in test]
    whole = [line.replace("5,?,6", "5,5,6").replace("1,?:", "1,1:") for line in whole]
    write(tmp_path, test=[line.replace("?", "0") for line in whole], header=header)
    wanted = load_uea("Toy", tmp_path)
    np.testing.assert_array_equal(data.train.xs, wanted.train.xs)
    assert data.test.mask is not None and wanted.test.mask is not None
    np.testing.assert_array_equal(data.test.mask, wanted.test.mask)
    filled = wanted.test.xs.copy()
    # Where none was before, the mean of the training part, and that is zero.
    filled[0, 0, 0] = filled[1, :2, 0] = 0
    np.testing.assert_array_equal(data.test.xs, filled)


def test_missing_values_do_not_count_for_the_scale(tmp_path):
    lines = cases(12, 0)
    write(tmp_path, train=lines, header=MISSING)
    whole = load_uea("Toy", tmp_path)
    # A gap in front of every channel of every case.
    gaps = [":".join("?," + c for c in line.split(":")[:2]) for line in lines]
    train = [f"{gap}:{line[-1]}" for gap, line in zip(gaps, lines)]
    test = ["?," + line.replace(":", ":?,", 1) for line in cases(4, 1)]
    write(tmp_path, train=train, test=test, header=MISSING)
    data = load_uea("Toy", tmp_path)
    for part, wanted in zip(data.parts, whole.parts):
        np.testing.assert_allclose(part.xs[:, 1:], wanted.xs, atol=1e-6)
        assert np.all(part.xs[:, 0] == 0)


def test_a_channel_without_any_value_is_refused(tmp_path):
    train = [line.split(":")[0] + ":?,?,?,?:" + line[-1] for line in cases(12, 0)]
    write(tmp_path, train=train, header=MISSING)
    with pytest.raises(ValueError, match=r"Toy_TRAIN\.ts.*none in \[2\]. Leave"):
        load_uea("Toy", tmp_path)


@real("uea")
def test_real_sets_have_the_pooled_splits():
    data = load_uea("JapaneseVowels", DATA, pooled=2345)
    assert counts(data) == [448, 96, 96] and data.classes == 9
    assert data.train.mask is not None
    # 30 of its 360 cases are copies of others.
    assert counts(load_uea("Libras", DATA, pooled=6789)) == [231, 49, 50]


@pytest.mark.parametrize(
    "path",
    sorted((DATA / "uea").glob("*.ts")) or [pytest.param(None, marks=real("uea"))],
    ids=lambda path: path and path.stem,
)
def test_the_reader_of_aeon_says_the_same(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aeon = pytest.importorskip("aeon.datasets")
        theirs, their_labels = aeon.load_from_ts_file(str(path))
    ours, labels = read_ts(path)
    # aeon makes all of a line small letters.
    assert [label.lower() for label in labels] == list(their_labels)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, np.transpose(other).astype(np.float32))
