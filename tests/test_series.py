"""Series that are forecast: their parts, scales and windows."""

import gzip

import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._data import (
    ett,
    Gathered,
    load_ett,
    load_metr_la,
    load_pems08,
    load_series,
    min_max,
    traffic,
)
from experiments._data.series import by_share, least_rows, make_series

from .files import DATA, real, refused


CONTEXT, HORIZON = 5, 3


@pytest.fixture
def series():
    values = np.random.default_rng(0).normal(3, [2, 0.1, 50], (60, 3))
    return make_series("made", values, (30, 45), names=("a", "b", "c"))


def test_windows_end_in_their_part_and_look_back_by_their_context(series):
    data = series.windows(CONTEXT, HORIZON)
    for split, start, stop in zip(data.parts, (5, 30, 45), (30, 45, 60)):
        # By hand: the horizon begins at every row from which it fits the part.
        wanted = [
            series.rows[i - CONTEXT : i + HORIZON]
            for i in range(start, stop - HORIZON + 1)
        ]
        np.testing.assert_array_equal(split.xs, wanted)
        assert split.context.tolist() == [CONTEXT] * len(wanted)
        assert split.labels.shape == (len(wanted),) and split.mask is None
    assert data.name == "made"
    np.testing.assert_array_equal(data.scale, series.scale)
    np.testing.assert_array_equal(data.centre, series.centre)


def test_windows_take_no_memory(series):
    for split in series.windows(CONTEXT, HORIZON).parts:
        assert np.shares_memory(split.xs, series.rows)
        assert np.shares_memory(split.head(2).xs, series.rows)


def test_the_future_reaches_neither_scale_nor_training():
    values = np.random.default_rng(0).normal(size=(60, 2))
    changed = values.copy()
    changed[30:] = 100 * changed[30:] + 7
    one, other = (make_series("made", v, (30, 45)) for v in (values, changed))
    np.testing.assert_array_equal(one.scale, other.scale)
    np.testing.assert_array_equal(one.centre, other.centre)
    first, second = (s.windows(CONTEXT, HORIZON).train for s in (one, other))
    np.testing.assert_array_equal(first.xs, second.xs)
    np.testing.assert_allclose(
        other.rows * other.scale + other.centre, changed, rtol=1e-5, atol=1e-5
    )


def test_scales_are_those_of_their_protocols():
    values = np.random.default_rng(0).uniform(2, 7, (60, 3)) * [1, 10, 100]
    usual = make_series("made", values, (30, 45)).train.astype(np.float64)
    assert np.abs(usual.mean(0)).max() < 1e-6 and np.abs(usual.std(0) - 1).max() < 1e-6
    paper = make_series("made", values, (30, 45), scaling=min_max).train
    np.testing.assert_allclose(paper.min(0), -1, atol=1e-6)
    np.testing.assert_allclose(paper.max(0), 1, atol=1e-6)


def test_the_leaking_protocol_says_so_and_gives_the_horizon_away(series):
    causal = series.windows(CONTEXT, HORIZON)
    leaking = series.leaking_windows(CONTEXT, HORIZON)
    assert leaking.name == "made (leaking)" and causal.name == "made"
    for one, other in zip(causal.parts, leaking.parts):
        np.testing.assert_array_equal(one.xs, other.xs)
        assert set(one.context) == {CONTEXT}
        assert set(other.context) == {CONTEXT + HORIZON}


def test_targets_come_first(series):
    turned = series.toward("c", "a")
    assert turned.names == ("c", "a", "b") and turned.targets == 2
    np.testing.assert_array_equal(turned.rows, series.rows[:, [2, 0, 1]])
    np.testing.assert_array_equal(turned.scale, series.scale[[2, 0, 1]])
    np.testing.assert_array_equal(turned.centre, series.centre[[2, 0, 1]])
    alone = turned.alone()
    assert alone.names == ("c", "a") and len(alone.scale) == len(alone.centre) == 2
    np.testing.assert_array_equal(alone.rows, series.rows[:, [2, 0]])
    assert series.targets == 3 and series.alone().names == series.names
    with refused("made", "among its columns (a, b, c)", "'d'"):
        series.toward("a", "d")
    with refused("made", "different targets"):
        series.toward("a", "a")


@pytest.mark.parametrize(
    "context, horizon, fragment",
    (
        (0, 3, "`context` of at least 1; got 0"),
        (3, 0, "`horizon` of at least 1; got 0"),
        (28, 3, "31 rows for training; got 30 of 60, of which 30 are for training, 15"),
        (28, 3, "A file is cut 60:20:20, so it has to have at least 52 rows"),
        (3, 16, "16 rows for validation; got 15 of 60"),
        (3, 16, "at least 80 rows"),
    ),
)
def test_too_few_rows_for_a_window_are_refused(series, context, horizon, fragment):
    with refused("made", fragment, f"context={context}", "shorter"):
        series.windows(context, horizon)


def test_the_least_rows_are_just_enough():
    def fit(rows, context, horizon):
        train, stop = by_share(rows)
        parts = stop - train, rows - stop
        return train >= context + horizon and min(parts) >= horizon

    for sizes in ((1, 1), (5, 3), (96, 96), (336, 96), (24, 7)):
        least = least_rows(*sizes)
        assert fit(least, *sizes) and not any(fit(r, *sizes) for r in range(least))
    assert least_rows(96, 96) == 480


def test_every_row_is_in_one_part():
    for rows in range(200):
        train, stop = by_share(rows)
        assert 0 <= train <= stop <= rows
        assert train == int(np.floor(np.float64(rows) * 6 / 10))
    assert by_share(2016) == (1209, 1612)


def test_gathered_batches_are_those_of_the_whole(series):
    train = series.windows(CONTEXT, HORIZON).train
    gathered = Gathered(train.take, len(train.xs), 7, key=jr.key(3))
    whole = wj.Batches(train, 7, key=jr.key(3))
    assert gathered.per_epoch == whole.per_epoch == 3
    for step in (0, 2, 3, 10):
        np.testing.assert_array_equal(gathered(step).xs, whole(step).xs)
        np.testing.assert_array_equal(gathered(step).context, whole(step).context)


@real("ETTh1.csv")
@pytest.mark.parametrize(
    "name, counts, first, mse, mae",
    (
        ("ETTh1", (8449, 2785, 2785), 5.827000141143799, 1.295, 0.713),
        ("ETTh2", (8449, 2785, 2785), 41.13000106811523, 0.432, 0.422),
        ("ETTm1", (34369, 11425, 11425), 5.827000141143799, 1.214, 0.665),
    ),
)
def test_ett_is_cut_and_scaled_as_in_the_literature(name, counts, first, mse, mae):
    series = load_ett(name, DATA)
    data = series.windows(96, 96)
    assert tuple(len(part.xs) for part in data.parts) == counts
    assert data.train.xs.shape[1:] == (192, 7) and series.names[-1] == "OT"
    start = data.train.xs[0, 0, 0] * series.scale[0] + series.centre[0]
    np.testing.assert_allclose(start, first, rtol=1e-6)
    # The first forecast of the test is of its first row.
    np.testing.assert_array_equal(data.test.xs[0, 96], series.test[0])
    np.testing.assert_array_equal(data.test.xs[-1, -1], series.rows[-1])
    # Errors of repeating the last value pin both the split and the scale.
    errors = data.test.xs[:, 96:] - data.test.xs[:, 95:96]
    np.testing.assert_allclose(np.mean(errors**2, dtype=np.float64), mse, rtol=2e-3)
    np.testing.assert_allclose(np.mean(abs(errors), dtype=np.float64), mae, rtol=2e-3)


@real("metr_la_week.npz")
def test_the_week_of_metr_la_is_complete(tmp_path):
    series = load_series("METR-LA", DATA)
    back = series.rows[0, :5] * series.scale[:5] + series.centre[:5]
    np.testing.assert_allclose(back, [64.375, 67.625, 67.125, 61.5, 66.875], rtol=1e-6)
    data = series.windows(12, 12)
    assert [len(part.xs) for part in data.parts] == [1186, 392, 393]
    assert abs(series.train.mean(dtype=np.float64)) < 1e-6
    with np.load(DATA / "metr_la_week.npz") as file:
        speeds, sensors = file["speed"], file["sensor_ids"]
    lines = [",".join(map(str, row)) for row in (sensors, *speeds)]
    (tmp_path / "los_speed.csv").write_text("\n".join(lines))
    other = load_metr_la(tmp_path)
    np.testing.assert_allclose(other.rows, series.rows, rtol=1e-5, atol=1e-6)
    assert other.names[0] == "773869"


def made_ett(rows=14_400, columns=ett.COLUMNS):
    values = np.random.default_rng(0).normal(size=(rows, len(columns))).round(3)
    lines = [",".join(map(str, row)) for row in values.tolist()]
    return values, "\n".join([",".join(columns), *lines]) + "\n"


@pytest.mark.parametrize("place", (".", "ETT-small"))
@pytest.mark.parametrize("end", (".csv", ".csv.gz"))
def test_ett_is_found_in_the_usual_places(place, end, tmp_path):
    values, text = made_ett(14_500)
    (tmp_path / place).mkdir(exist_ok=True)
    written = (
        gzip.compress(text.encode(), mtime=0) if end.endswith("gz") else text.encode()
    )
    (tmp_path / place / f"ETTh2{end}").write_bytes(written)
    series = load_ett("ETTh2", tmp_path)
    assert series.stops == (8640, 11_520) and len(series.rows) == 14_400
    back = series.rows * series.scale + series.centre
    np.testing.assert_allclose(back, values[:14_400], atol=1e-5)


@pytest.mark.parametrize(
    "rows, columns, fragment",
    (
        (100, ett.COLUMNS, "and 100"),
        (14_400, ett.COLUMNS[:-1], "LUFL, LULL and 14400"),
    ),
)
def test_another_file_in_the_place_of_ett_is_refused(rows, columns, fragment, tmp_path):
    (tmp_path / "ETTh1.csv").write_text(made_ett(rows, columns)[1])
    with refused(tmp_path / "ETTh1.csv", fragment, "at least 14400 rows", ett.URL):
        load_ett("ETTh1", tmp_path)


def test_a_series_of_ett_that_is_not_there_says_where_it_is(tmp_path, monkeypatch):
    def create(folder, url, registry):
        assert url.startswith("https://") and registry == {
            "ETTm2.csv": "md5:7687e47825335860bf58bccb31be0c56"
        }
        raise ValueError("no network")

    monkeypatch.setattr(ett, "Fetcher", create)
    with refused("ETTm2.csv", "no network", str(tmp_path), "--data DIR"):
        load_ett("ETTm2", tmp_path)
    with refused("load_ett('ETTh3')", "ETTh1, ETTh2, ETTm1, ETTm2"):
        load_ett("ETTh3", tmp_path)


@pytest.mark.parametrize("name", ("pems08.npz", "PEMS08/PEMS08.npz"))
def test_the_flow_of_pems08_is_its_first_channel(name, tmp_path, monkeypatch):
    monkeypatch.setattr(traffic, "PEMS08", (100, 4, 3))
    values = np.random.default_rng(0).normal(200, 30, (100, 4, 3))
    # A sensor that stands still is one of many.
    values[:, 1, 0] = 0
    (tmp_path / name).parent.mkdir(exist_ok=True)
    np.savez(tmp_path / name, data=values)
    series = load_pems08(tmp_path)
    assert series.stops == (60, 80)
    back = series.rows * series.scale + series.centre
    np.testing.assert_allclose(back, values[..., 0], atol=1e-3)
    assert len(set(series.scale)) == 1


@pytest.mark.parametrize(
    "load, name, arrays, fragments",
    (
        (load_pems08, "pems08.npz", None, ("is missing", "Davidham3", "--data")),
        (load_metr_la, "metr_la_week.npz", None, ("is missing", "T-GCN", "--data")),
        (load_pems08, "pems08.npz", {"x": np.ones(2)}, ("array data", "numpy.savez")),
        (
            load_pems08,
            "pems08.npz",
            {"data": np.ones((9, 170, 3))},
            ("(17856, 170, 3)", "got (9, 170, 3)", "axes are time"),
        ),
        (
            load_metr_la,
            "metr_la_week.npz",
            {"speed": np.ones((9, 207))},
            ("(2016, 207)", "got (9, 207)"),
        ),
        (
            load_metr_la,
            "metr_la_week.npz",
            {"speed": np.full((2016, 207), np.nan)},
            ("nan in speed[0, 0]", "Fill in"),
        ),
        (
            load_metr_la,
            "metr_la_week.npz",
            {"speed": np.ones((2016, 207))},
            ("constant ones: 0, 1",),
        ),
    ),
)
def test_wrong_files_of_traffic_are_refused(load, name, arrays, fragments, tmp_path):
    if arrays is not None:
        np.savez(tmp_path / name, **arrays)
    constant = any("constant" in fragment for fragment in fragments)
    with refused("METR-LA week" if constant else tmp_path / name, *fragments):
        load(tmp_path)
