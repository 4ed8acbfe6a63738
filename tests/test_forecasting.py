"""Windows of series: what models are trained on, what they see, and what is scored."""

import csv
import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments import forecasting
from experiments.__main__ import main
from experiments._data import Split
from experiments._data.series import make_series
from experiments._forecasters import candidates
from experiments._windows import (
    DirectForecast,
    LeakingForecast,
    less,
    LinearForecast,
)
from experiments.baselines import fit_ridge, repeat

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
    in_units = errors * data.scale
    wanted = {
        "test_mse": np.mean(errors**2),
        "test_mae": np.mean(np.abs(errors)),
        "test_mae_units": np.mean(np.abs(in_units)),
        "test_rmse_units": np.sqrt(np.mean(in_units**2)),
    }
    assert metrics.keys() == wanted.keys()
    for name, figure in wanted.items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-5)


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


def test_the_last_value_is_repeated():
    windows = np.arange(12.0).reshape(2, 3, 2)
    found = repeat(1, 2)(windows)
    np.testing.assert_array_equal(found, np.stack([[[4, 5]] * 2, [[10, 11]] * 2]))


@pytest.mark.slow
def test_a_file_of_ones_own_is_forecast_past_its_end(tmp_path, broadcasting):
    rows = np.arange(400)
    path = tmp_path / "own.csv"
    with open(path, "w", encoding="utf-8") as file:
        print("date,load,price", file=file)
        for row in rows:
            print(f"d{row},{10 + np.sin(row / 4)},{row % 7}", file=file)
    out = tmp_path / "run"
    options = ["--dataset", str(path), "--target", "load", "--out", str(out)]
    sizes = ["--context", "24", "--horizon", "6", "--steps", "2"]
    main(["forecasting", *options, *sizes, "--models", "WARP", "DLinear"])
    summary = json.loads((out / "summary.json").read_text())
    errors = {row["model"]: row["metrics"]["test_mse"] for row in summary["results"]}
    assert errors.keys() == {"WARP", "WARP, alone", "DLinear", "ridge", "last value"}
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
    assert "own.csv" in said and "context=96" in said


def test_a_leaking_protocol_is_named_so():
    data = series().leaking_windows(*STEPS)
    assert "leaking" in data.name
    assert isinstance(data.test, Split) and forecasting.STEPS_OF["PEMS08"] == (12, 12)
