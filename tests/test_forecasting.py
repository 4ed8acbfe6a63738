"""Windows of series: what models are trained on, what they see, and what is scored."""

import csv
import datetime
import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments import forecasting
from experiments.__main__ import main
from experiments._config import Config
from experiments._continue import follow, Forecast
from experiments._data import Split
from experiments._data.series import make_series
from experiments._forecasters import candidates
from experiments._run import Run
from experiments._windows import (
    corrected,
    DirectForecast,
    LeakingForecast,
    less,
    LinearForecast,
)
from experiments.baselines import find_season, fit_ridge, repeat

from .helpers import assert_same, perturbed


CONTEXT, HORIZON = 8, 3
STEPS = CONTEXT, HORIZON


@pytest.fixture
def broadcasting():
    """Optimisers and plots broadcast on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def series(rows=80, channels=2):
    steps = np.arange(rows)[:, None]
    values = np.sin(steps * (1 + np.arange(channels)) / 3) + 0.1 * steps
    return make_series("made", 5 + 2 * values, (40, 60))


def test_windows_become_channels_less_a_forecast():
    data = series().windows(*STEPS)
    xs = data.test.xs
    doubled = lambda windows: 2 * windows[:, -HORIZON:]  # noqa: E731
    found = less(data.test, CONTEXT, doubled)
    assert found.xs.shape == (2 * len(xs), CONTEXT + HORIZON, 1)
    for window in range(len(xs)):
        for channel in range(2):
            row = found.xs[2 * window + channel, :, 0]
            one = xs[window, :, channel]
            np.testing.assert_array_equal(
                row[:CONTEXT], one[:CONTEXT] - one[CONTEXT - 1]
            )
            wanted = one[CONTEXT:] - 2 * one[CONTEXT - HORIZON : CONTEXT]
            np.testing.assert_allclose(row[CONTEXT:], wanted, rtol=1e-6)


def test_errors_of_a_correction_are_those_of_the_sum():
    data = series().windows(*STEPS)
    ridge = fit_ridge(
        data.train.xs[:, :CONTEXT],
        data.train.xs[:, CONTEXT:],
        (data.validation.xs[:, :CONTEXT], data.validation.xs[:, CONTEXT:]),
    )
    assert data.scale is not None
    task = LinearForecast(CONTEXT, tuple(data.scale.tolist()))
    constant = lambda window: jnp.full((HORIZON, 1), 0.25)  # noqa: E731
    metrics = task.test(less(data.test, CONTEXT, ridge))(constant)
    errors = ridge(data.test.xs[:, :CONTEXT]) + 0.25 - data.test.xs[:, CONTEXT:]
    wanted = {"test_mse": np.mean(errors**2), "test_mae": np.mean(np.abs(errors))}
    assert metrics.keys() == wanted.keys()
    for name, figure in wanted.items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-5)
    assert_same(
        corrected(task, ridge, constant)(data.test.xs[:, :CONTEXT]),
        (ridge(data.test.xs[:, :CONTEXT]) + 0.25).astype(np.float32),
    )


def test_metrics_in_units_are_of_channels_of_one_unit():
    errors = np.random.default_rng(0).normal(size=(8, HORIZON, 1))
    apart = DirectForecast(CONTEXT, (2.0, 3.0)).metrics(errors)
    assert apart.keys() == {"test_mse", "test_mae"}
    for scale in ((2.0,), (2.0, 2.0)):
        metrics = DirectForecast(CONTEXT, scale).metrics(errors)
        in_units = 2 * errors
        np.testing.assert_allclose(metrics["test_mae_units"], np.mean(np.abs(in_units)))
        rmse = np.sqrt(np.mean(in_units**2))
        np.testing.assert_allclose(metrics["test_rmse_units"], rmse)


def test_a_correction_goes_to_its_own_window_and_channel():
    windows = np.random.default_rng(0).normal(size=(5, CONTEXT, 2)).astype(np.float32)
    weights = np.linspace(1, 2, CONTEXT)
    task = LinearForecast(CONTEXT)
    model = lambda window: jnp.full((HORIZON, 1), weights @ window[:, 0])  # noqa: E731
    found = corrected(task, repeat(1, HORIZON), model)(windows)
    moved = np.einsum("c,ncd->nd", weights, windows - windows[:, -1:])
    wanted = np.repeat((windows[:, -1] + moved)[:, None], HORIZON, axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ("WARP", "DLinear", "LRU"))
def test_a_forecast_does_not_see_the_future(name):
    *_, model = candidates(name, STEPS, jr.key(0)).values()
    model = perturbed(model, 1)
    task = (LinearForecast if name == "DLinear" else DirectForecast)(CONTEXT)
    xs = jr.normal(jr.key(2), (CONTEXT + HORIZON, 1))
    before = task.predict(model, xs)
    assert before.shape == (HORIZON, 1)
    assert_same(task.predict(model, xs.at[CONTEXT:].add(3.0)), before)
    seen = task.predict(model, xs.at[CONTEXT - 1].add(3.0))
    assert np.all(np.abs(seen - before) > 1e-6)
    if name != "DLinear":
        # Only the protocol that says so leaks.
        leaking = LeakingForecast(CONTEXT)
        changed = leaking.predict(model, xs.at[CONTEXT:].add(3.0))
        assert np.any(np.abs(changed - leaking.predict(model, xs)) > 1e-6)


@pytest.mark.parametrize("name", ("WARP", "LRU"))
def test_a_correction_begins_at_zero(name):
    task = DirectForecast(CONTEXT)
    for model in candidates(name, STEPS, jr.key(0)).values():
        xs = jr.normal(jr.key(2), (CONTEXT + HORIZON, 1))
        np.testing.assert_array_equal(task.predict(model, xs), np.zeros((HORIZON, 1)))


def test_rivals_of_blocks_have_mode_dropout_too():
    xs = np.random.default_rng(2).normal(size=(1, CONTEXT + HORIZON, 1))
    split = Split(xs.astype(np.float32), np.zeros(1, int))
    loss = eqx.filter_jit(DirectForecast(CONTEXT).loss)
    for name in "WARP", "LRU", "S4D":
        plain, dropped = candidates(name, STEPS, jr.key(0)).items()
        assert plain[0] == f"{name}, dropout 0" and dropped[0] == f"{name}, dropout 0.4"
        for (_, model), differs in ((plain, False), (dropped, True)):
            model = perturbed(model, 1)
            values = {float(loss(model, split, jr.key(n))) for n in range(3)}
            assert (len(values) > 1) is differs
    assert list(candidates("Transformer", STEPS, jr.key(0))) == ["Transformer"]


def test_the_last_value_is_repeated():
    windows = np.arange(12.0).reshape(2, 3, 2)
    found = repeat(1, 2)(windows)
    np.testing.assert_array_equal(found, np.stack([[[4, 5]] * 2, [[10, 11]] * 2]))


def test_a_season_is_repeated():
    windows = np.arange(12.0).reshape(2, 6, 1)
    found = repeat(4, 7)(windows)[:, :, 0]
    assert found.tolist() == [[2, 3, 4, 5, 2, 3, 4], [8, 9, 10, 11, 8, 9, 10]]


def cycle(random, rows):
    steps = np.arange(rows)
    waves = [np.sin(2 * np.pi * steps / 6 + 1), np.cos(2 * np.pi * steps / 3)]
    return 0.1 * random.normal(size=(rows, 2)) + np.stack(waves, axis=1)


@pytest.mark.parametrize(
    "make, season",
    (
        (cycle, 6),
        (lambda random, rows: np.cumsum(random.normal(size=(rows, 2)), axis=0), 1),
        (lambda random, rows: random.normal(size=(rows, 2)), 1),
    ),
)
def test_the_season_is_the_shortest_that_forecasts_training_data_best(make, season):
    rows = make(np.random.default_rng(3), 2000)
    assert find_season(rows, 14, 9) == season
    # By every window that is there.
    errors = []
    for m in range(1, 15):
        ends = range(14, len(rows) - 9)
        pairs = (
            (rows[end + k] - rows[end - m + k % m]) ** 2
            for end in ends
            for k in range(9)
        )
        errors.append(np.mean(list(pairs)))
    assert errors[season - 1] <= 1.05 * min(errors)
    assert all(error > 1.05 * min(errors) for error in errors[: season - 1])


def test_a_season_longer_than_the_rows_reach_is_no_error():
    assert find_season(np.arange(12.0)[:, None], 8, 4) == 1


def own_file(path, rows=400):
    start = datetime.datetime(2024, 1, 1)
    with open(path, "w", encoding="utf-8") as file:
        print("date,load,what", file=file)
        for row in range(rows):
            date = start + row * datetime.timedelta(hours=1)
            print(f"{date},{1000 + 50 * np.sin(row * np.pi / 6):.2f},text", file=file)


def test_without_a_training_the_best_reference_is_written(
    tmp_path, broadcasting, capsys
):
    own_file(tmp_path / "own.csv")
    out = tmp_path / "run"
    options = ["--dataset", str(tmp_path / "own.csv"), "--target", "load"]
    sizes = ["--context", "24", "--horizon", "6", "--models", "ridge"]
    main(["forecasting", *options, *sizes, "--out", str(out)])
    said = " ".join("".join(capsys.readouterr()).split())
    summary = json.loads((out / "summary.json").read_text())
    rows = {row["model"]: row for row in summary["results"]}
    assert rows.keys() == {"ridge", "last value", "seasonal naive, 12 steps"}
    assert all("test_mae_units" in row["metrics"] for row in rows.values())
    best = min(rows, key=lambda name: rows[name]["validation"])
    assert summary["forecast"] == {
        "file": "forecast.csv",
        "model": best,
        "validation": rows[best]["validation"],
    }
    assert best == "seasonal naive, 12 steps"
    assert f"{out / 'forecast.csv'} has the 6 steps that follow, by {best}" in said
    assert "ridge: linear regression on the window" in said
    head, *lines = csv.reader((out / "forecast.csv").read_text().splitlines())
    assert head == ["step", "date", "load"]
    assert [line[:2] for line in lines] == [
        [f"{i + 1}", f"2024-01-17 {16 + i}:00:00"] for i in range(6)
    ]
    # A ten-thousandth of a deviation of about 35.
    assert all(len(value.partition(".")[2]) == 3 for _, _, value in lines)
    ahead = np.array([float(value) for *_, value in lines])
    wanted = 1000 + 50 * np.sin((400 + np.arange(6)) * np.pi / 6)
    np.testing.assert_allclose(ahead, wanted, atol=0.02)
    main(["report", str(out), "--out", str(tmp_path / "page")])
    assert 'alt="forecast"' in (tmp_path / "page" / "index.html").read_text()


def test_the_forecast_of_the_least_validation_error_is_written(tmp_path, capsys):
    found = [
        Forecast(
            name, error, lambda windows, n=n: np.full((len(windows), HORIZON, 2), n)
        )
        for n, (name, error) in enumerate((("a", 0.3), ("b", 0.1), ("c", 0.2)))
    ]
    made = series()
    run = Run("forecasting", "made", Config(out=tmp_path / "run"))
    assert follow(run, made, STEPS, found)["forecast"]["model"] == "b"
    assert (
        "by b: its validation error, 0.1, is the least of 3" in capsys.readouterr().err
    )
    head, *lines = csv.reader(
        (tmp_path / "run" / "forecast.csv").read_text().splitlines()
    )
    assert head == ["step", "0", "1"]
    values = np.array(lines, float)[:, 1:]
    np.testing.assert_allclose(
        values, np.tile(made.centre + made.scale, (HORIZON, 1)), atol=1e-3
    )


@pytest.mark.slow
def test_a_file_of_ones_own_is_forecast_past_its_end(tmp_path, broadcasting, capsys):
    rows = np.arange(400)
    path = tmp_path / "own.csv"
    with open(path, "w", encoding="utf-8") as file:
        print("date,load,price", file=file)
        for row in rows:
            print(f"d{row},{10 + np.sin(row / 4)},{row % 7}", file=file)
    out = tmp_path / "run"
    options = ["--dataset", str(path), "--target", "load", "--out", str(out)]
    sizes = ["--context", "24", "--horizon", "6", "--steps", "2"]
    trained = "WARP", "WARP, alone", "DLinear"
    main(["forecasting", *options, *sizes, "--models", *trained])
    summary = json.loads((out / "summary.json").read_text())
    errors = {row["model"]: row["metrics"]["test_mse"] for row in summary["results"]}
    assert {*trained, "ridge", "last value"} < errors.keys()
    (note,) = re.findall("own.csv:.*", capsys.readouterr().err)
    assert "'d0' of column 'date' was not read as a date, nor were 399 others" in note
    assert errors["ridge"] < 0.1 * errors["last value"]
    head, *lines = csv.reader((out / "forecast.csv").read_text().splitlines())
    assert head == ["step", "load"] and len(lines) == 6
    ahead = np.array([float(value) for _, value in lines])
    np.testing.assert_allclose(ahead, 10 + np.sin((400 + np.arange(6)) / 4), atol=0.2)


def test_a_series_too_short_for_its_windows_is_refused(tmp_path, capsys):
    (tmp_path / "own.csv").write_text("a\n" + "\n".join(map(str, range(30))))
    with pytest.raises(SystemExit):
        main(["forecasting", "--dataset", str(tmp_path / "own.csv")])
    said = " ".join("".join(capsys.readouterr()).split())
    assert "own.csv" in said and "context=96" in said and "at least 480 rows" in said


def test_a_leaking_protocol_is_named_so():
    data = series().leaking_windows(*STEPS)
    assert "leaking" in data.name
    assert isinstance(data.test, Split) and forecasting.STEPS_OF["PEMS08"] == (12, 12)
