"""`classification --refit`: what validation chose, trained on validation data too."""

import io
import json
from typing import Any, cast

import jax
import numpy as np
import pytest
from rich.console import Console

import warp_jax as wj
from experiments.__main__ import main
from experiments._config import Config
from experiments._data import load_labelled, with_validation
from experiments._log import Reporter
from experiments._refit import refitted, rows
from experiments._report import joined, markdown, page, read as read_runs
from experiments._run import Run

from .files import write_pictures
from .test_classification import Point
from .test_experiments import broadcasting as broadcasting, read
from .test_uea import cases, write


ABOUT = "classification", "digits", "quick", 1


@pytest.fixture
def summary(tmp_path):
    """A summary of a run in which one model was chosen and one diverged."""
    row = {"parameters": 5, "state_size": 1, "steps": 20, "metrics": {"test_at": 1.0}}
    chosen = {"trial": "LRU, rate 0.02", "learning_rate": 0.02, "validation": 0.25}
    results = [
        row | chosen | {"model": "LRU", "tried": {"LRU, rate 0.02": 0.25}},
        row | {"model": "low rank", "metrics": {}, "diverged": "loss was nan"},
    ]
    names = ("experiment", "dataset", "preset", "seed")
    value = dict(zip(names, ABOUT)) | {"results": results, "versions": {}}
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(value))
    return path


def test_what_diverged_is_not_trained_again(summary):
    (row,) = rows(summary, *ABOUT).values()
    assert row["model"] == "LRU"


@pytest.mark.parametrize("place", range(len(ABOUT)))
def test_a_run_of_something_else_is_refused(place, summary):
    about: list[Any] = list(ABOUT)
    about[place] = 0 if place == 3 else "other"
    with pytest.raises(
        ValueError, match=f"{summary}.*{ABOUT[place]}, not {about[place]}"
    ):
        rows(summary, *about)


def test_one_run_is_needed(summary, tmp_path):
    with pytest.raises(ValueError, match=r"`--refit .*nowhere.* nothing is there"):
        rows(tmp_path / "nowhere", *ABOUT)
    (tmp_path / "again.json").write_bytes(summary.read_bytes())
    with pytest.raises(ValueError, match="needs one run; got a folder of 2"):
        rows(tmp_path, *ABOUT)


@pytest.mark.parametrize(
    "options, fragment",
    (
        (["--steps", "3"], "leave them out"),
        (["--learning-rates", "1e-3"], "leave them out"),
        (["--seed", "2"], "seed 1, not 2"),
        (["--seed", "1", "--models", "Mamba"], "'LRU, rate 0.02'"),
    ),
)
def test_what_cannot_be_trained_again_is_said(options, fragment, summary, capsys):
    """The last is a model that the run has not, under the name of one that it has."""
    text = summary.read_text().replace('"model": "LRU"', '"model": "Mamba"')
    summary.write_text(text)
    out = ["--out", str(summary.parent / "run"), "--refit", str(summary)]
    with pytest.raises(SystemExit) as caught:
        main(["classification", *out, *options])
    assert caught.value.code == 2
    assert fragment in "".join(capsys.readouterr()).replace("\n", " ")


@pytest.mark.parametrize("padded", [False, True])
def test_nothing_but_the_training_part_changes(padded, tmp_path):
    """Of pictures in bytes and of sequences of unequal length."""
    if padded:
        write(tmp_path / "uea", train=cases(12, 0, (3, 5)), test=cases(4, 1, (4, 2)))
    else:
        write_pictures(tmp_path)
    data = load_labelled("Toy" if padded else "mnist", tmp_path)
    more = with_validation(data)
    first, kept, both = (
        d.sequences() for d in (data.train, data.validation, more.train)
    )
    count = len(first.labels)
    assert len(both.labels) == count + len(kept.labels) > count
    for name in ("xs", "labels", "mask"):
        found = getattr(both, name)
        assert (found is not None) == (padded or name != "mask")
        if found is not None:
            np.testing.assert_array_equal(found[:count], getattr(first, name))
            np.testing.assert_array_equal(found[count:], getattr(kept, name))
    assert more.validation is data.validation and more.test is data.test
    batch = more.batches(len(both.labels), key=jax.random.key(0))(0)
    assert np.sum(batch.xs) == pytest.approx(np.sum(both.xs, dtype=float), rel=1e-3)


def test_without_validation_the_last_model_is_tested(tmp_path, broadcasting):
    """Validation would take the twentieth part of the way that is nearest to its own."""
    trial = Point.trial("point", 1.0, [])
    run = Run("test", "points", Config(out=tmp_path / "one"))
    early = run.choose("point", trial.at([0.02]))
    (row,) = run.results
    assert row["best_step"] < 20
    again = refitted(trial.at([0.02, 0.05]), row)
    other = Run("test", "points", Config(out=tmp_path / "two"))
    other.attempt("point, refit", [again])
    (found,) = other.results
    assert found["best_step"] == 20 and found["metrics"]["test_at"] > early.at + 0.01
    for name in ("trial", "validation", "tried", "learning_rate", "steps"):
        assert found[name] == row[name]
    summary = other.finish()
    records = read_runs([tmp_path / "two"])
    assert records[0].results == summary["results"]
    for shown in (markdown(records, joined(records)), page(records, joined(records))):
        assert "point, refit" in shown
    with pytest.raises(ValueError, match="cannot train 'point' again"):
        refitted(trial.at([0.05]), row)


def test_a_terminal_shows_a_training_without_validation():
    console = Console(force_terminal=True, file=io.StringIO())
    progress = wj.Progress(3, 20, 0.5, 1.0, None, None, 2.0)
    with Reporter(console, "point", 20) as reporter:
        reporter.show(progress)
    assert "loss 0.5" in cast(io.StringIO, console.file).getvalue()


@pytest.mark.slow
def test_digits_are_trained_again_and_resumed(tmp_path, broadcasting):
    first, second = tmp_path / "first", tmp_path / "second"
    models = ["low rank", "random convolutions"]
    start = ["classification", "--dataset", "digits", "--seed", "1"]
    options = ["--steps", "3", "--learning-rates", "1e-3", "1e-2", "--models", *models]
    main([*start, *options, "--out", str(first)])
    main([*start, "--refit", str(first), "--out", str(second)])
    rows = json.loads((first / "summary.json").read_text())["results"]
    again = json.loads((second / "summary.json").read_text())["results"]
    assert [row["model"] for row in again] == [f"{name}, refit" for name in models]
    for name in ("trial", "steps", "learning_rate", "validation", "tried"):
        assert rows[0][name] == again[0][name]
    for row, other in zip(rows, again):
        assert row["metrics"] != other["metrics"]
        assert row["parameters"] == other["parameters"]
    before = read(second)
    main(["classification", "--resume", str(second)])
    assert read(second) == before
