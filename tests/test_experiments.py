"""The command line, the run folder and the baselines."""

import json
import math
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.__main__ import EXPERIMENTS, main
from experiments._data import load_digits, make_sine, make_spirals

from .files import DATA, real


ROOT = __file__.rsplit("/", 2)[0]


@pytest.fixture
def broadcasting():
    """Optimisers and plots broadcast on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def without_time(lines):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def read(folder):
    """Returns the results and the metrics of a run, without the seconds."""
    summary = json.loads((folder / "summary.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return without_time(summary["results"]), without_time(map(json.loads, lines))


@pytest.mark.slow
def test_a_run_leaves_what_the_contract_says(tmp_path, broadcasting):
    folder = tmp_path / "run"
    main(["digits", "--steps", "2", "--out", str(folder), "--models", "WARP"])
    summary = json.loads((folder / "summary.json").read_text())
    assert {
        "experiment",
        "dataset",
        "preset",
        "seed",
        "seconds",
        "results",
        "versions",
    } <= set(summary)
    models = {row["model"]: row for row in summary["results"]}
    assert models["classification: WARP"]["steps"] == 2
    assert "test_accuracy" in models["classification: WARP"]["metrics"]
    assert "forecast_mse" in models["completion: mean image"]["metrics"]
    assert {p.name for p in (folder / "figures").iterdir()} == {
        "completed_digits.png",
        "forecast_autoregressive.png",
        "forecast_completion.png",
        "learning_curves.png",
        "weight_trajectories.png",
    }
    before = read(folder)
    main(["digits", "--resume", str(folder)])
    assert read(folder) == before


@pytest.mark.parametrize(
    "name, rates", (pytest.param("sine", 2, marks=pytest.mark.slow), ("spirals", 1))
)
def test_every_experiment_runs(name, rates, tmp_path, broadcasting):
    main([name, "--steps", "1", "--out", str(tmp_path / "run"), "--models", "LRU"])
    results, metrics = read(tmp_path / "run")
    # A line for each rate that is tried.
    assert results and len(metrics) == rates * len(results)


# Their data and models are made in about a second.
SWIFT = (
    "classification",
    "gradients",
    "in_context",
    "lotka_volterra",
    "msd",
    "polynomials",
    "spirals",
)
FILES = {
    "cheetah": "half_cheetah_traces.npz",
    "completion": "mnist.npz",
    "forecasting": "ETTh1.csv",
    "silverbox": "sysid_measured.npz",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[
                *([real(FILES[name])] if name in FILES else []),
                *([] if name in SWIFT else [pytest.mark.slow]),
            ],
        )
        for name in sorted(EXPERIMENTS.keys() - {"report"})
    ],
)
def test_a_model_that_is_not_there_is_refused_before_there_is_a_folder(
    name, tmp_path, capsys
):
    folder = tmp_path / "run"
    data = ["--data", str(DATA)] if name in FILES else []
    with pytest.raises(SystemExit) as caught:
        main(
            [name, "--models", "R", "WRAP", "--steps", "1", "--out", str(folder), *data]
        )
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "`--models WRAP` is part of no model's name; there are " in said
    listed = said.partition("there are ")[2].strip().rstrip(".").split("; ")
    assert len(listed) > 1 and all(listed)
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments, fragment, absent",
    (
        (["digits", "--steps", "0"], "`--steps` needs at least 1", "dummy"),
        (["sine", "--seed", "-1"], "got -1", "dummy"),
        (["sine", "--sed", "1"], "python -m experiments sine --help", "in python"),
        (["sine", "--help"], "usage: python -m experiments sine", "ablations"),
        ([], "usage: python -m experiments", "dummy"),
    ),
)
def test_the_command_line_speaks_of_the_command(arguments, fragment, absent, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    said = " ".join("".join(capsys.readouterr()).split())
    assert fragment in said and absent not in said


@pytest.mark.parametrize(
    "arguments, fragment",
    (
        (["digit"], "digit"),
        (["digits", "--preset", "slow"], "slow"),
        (["digits", "--steps", "0"], "got 0"),
        (["digits", "--seed", "-1"], "got -1"),
        (["sine", "--waves", "10", "11"], "got 10 11"),
        (["digits", "--out", "{file}/run"], "cannot be written"),
        (["digits", "--resume", "{folder}"], "config.json"),
        (["sine", "--resume", "{run}"], "'digits', not of 'sine'"),
        (["digits", "--out", "{run}"], "holds a run already"),
        (["digits", "--data", "{folder}/none"], "existing folder"),
    ),
)
def test_the_command_line_refuses_in_plain_words(arguments, fragment, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "run").mkdir()
    written = {"experiment": "digits", "preset": "quick", "seed": 0, "out": None}
    written |= {"data": None, "resume": None, "steps": None, "models": []}
    (tmp_path / "run" / "config.json").write_text(json.dumps(written))
    places = {name: tmp_path / name for name in ("file", "folder", "run")}
    with pytest.raises(SystemExit) as caught:
        main([argument.format(**places) for argument in arguments])
    assert caught.value.code == 2
    said = "".join(capsys.readouterr())
    assert fragment in " ".join(said.split())


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path):
    command = [sys.executable, "-m", "experiments", "digits"]
    options = ["--steps", "40", "--models", "classification"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, *options, "--out", whole], cwd=ROOT, check=True)
    start = [*options, "--out", killed]
    kills = 0
    for lines in (1, 3, 5, 7, 9):
        process = subprocess.Popen([*command, *start], cwd=ROOT, stderr=subprocess.PIPE)
        assert process.stderr is not None
        # The kill comes in the middle of the work, however fast the machine is.
        seen = sum(1 for _ in zip(range(lines), process.stderr))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += seen == lines
        start = ["--resume", killed]
    assert kills
    subprocess.run([*command, "--resume", killed], cwd=ROOT, check=True)
    assert read(killed) == read(whole)


def test_data_is_what_it_says_it_is():
    digits = load_digits()
    parts = digits.train, digits.validation, digits.test
    assert [len(part.xs) for part in parts] == [1257, 180, 360]
    rows = {bytes(np.asarray(x)) for x in digits.train.xs}
    shared = sum(bytes(np.asarray(x)) in rows for x in digits.test.xs)
    assert shared < 0.02 * len(digits.test.xs)
    sine = make_sine().train.xs[:, :, 0]
    phase = np.arcsin(sine[:, 0])
    times = np.linspace(0, 1, 16)
    wanted = np.sin(2 * np.pi * times + phase[:, None])
    assert np.abs(sine - wanted).max() < 1e-5
    assert np.abs(phase).max() <= math.pi / 6
    spirals = make_spirals(noise=0.0).train
    x, y = np.moveaxis(spirals.xs, -1, 0)
    turning = np.sign(x[:, 0] * y[:, 1] - y[:, 0] * x[:, 1])
    assert np.all(turning == np.where(spirals.labels == 1, -1, 1))
