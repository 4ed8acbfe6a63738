"""Pictures from their first pixels: what is seen, what is scored."""

import functools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

import warp_jax as wj
from experiments import completion
from experiments.__main__ import main
from experiments._completion import (
    AutoregressiveCompletion,
    Completion,
    completion_metrics,
    Levels,
)

from .files import write_pictures
from .helpers import assert_same, joined, perturbed


SHAPE, GIVEN = (4, 4, 1), 6


@pytest.fixture
def broadcasting():
    """Optimisers and plots broadcast on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("task", (Completion, AutoregressiveCompletion))
@pytest.mark.parametrize("name", ("WARP", "LRU"))
def test_a_completion_does_not_see_what_it_completes(name, task):
    model = perturbed(completion.models(SHAPE, jr.key(0))[name](), 1, 0.1)
    predict = eqx.filter_jit(functools.partial(task(GIVEN).predict, model))
    xs = jr.uniform(jr.key(2), (16, 1), minval=-1, maxval=1)
    before = joined(predict(xs))
    assert before.shape == (16 - GIVEN, 2)
    assert_same(joined(predict(xs.at[GIVEN:].add(1.0))), before)
    assert np.all(np.any(joined(predict(xs.at[GIVEN - 1].add(1.0))) != before, axis=1))


def test_metrics_are_those_of_discrete_values():
    levels = Levels(5, -1.0, 1.0)
    random = np.random.default_rng(0)
    truth = random.choice(np.linspace(-1, 1, 5), (7, 4, 1)).astype(np.float32)
    mean = random.normal(size=truth.shape).astype(np.float32)
    std = random.uniform(0.2, 1, truth.shape).astype(np.float32)
    gaussian = wj.Gaussian(jnp.asarray(mean), jnp.asarray(std))
    found = completion_metrics(gaussian, truth, levels)
    edges = np.linspace(-1.25, 1.25, 6)
    edges[0], edges[-1] = -np.inf, np.inf
    place = np.round((truth + 1) * 2).astype(int)
    mass = norm.cdf(edges[place + 1], mean, std) - norm.cdf(edges[place], mean, std)
    wanted = {
        "forecast_mse": np.mean((mean - truth) ** 2) / 4,
        "forecast_nll": float(wj.gaussian_nll(gaussian, jnp.asarray(truth))),
        "bits_per_dim": np.mean(-np.log2(mass)),
        "coverage_95": np.mean(np.abs(mean - truth) <= 1.96 * std),
    }
    assert found.keys() == wanted.keys()
    for name, figure in wanted.items():
        np.testing.assert_allclose(found[name], figure, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("reading", ("direct", "autoregressive"))
def test_pictures_of_a_folder_are_completed(reading, tmp_path, broadcasting):
    write_pictures(tmp_path, 80)
    out = tmp_path / "run"
    options = ["--data", str(tmp_path), "--out", str(out), "--steps", "1"]
    main(["completion", *options, "--reading", reading, "--models", "WARP", "S4D"])
    summary = json.loads((out / "summary.json").read_text())
    rows = {row["model"]: row for row in summary["results"]}
    assert rows.keys() >= {"WARP", "S4D", "mean picture", "ridge"}
    sizes = [rows[name]["parameters"] for name in ("WARP", "S4D")]
    assert max(sizes) < 1.05 * min(sizes)
    assert (out / "figures" / "completed.png").exists()


def test_a_picture_must_have_something_left(tmp_path, capsys):
    write_pictures(tmp_path)
    with pytest.raises(SystemExit):
        main(["completion", "--data", str(tmp_path), "--given", "784"])
    said = " ".join("".join(capsys.readouterr()).split())
    assert "1 to 783" in said and "got 784" in said
