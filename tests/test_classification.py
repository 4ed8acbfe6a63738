"""The command `classification`, and the choice among trials."""

import dataclasses
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj
from experiments.__main__ import main
from experiments._classifiers import bounded_lrus, DEFAULTS, Defaults, warps
from experiments._config import Config
from experiments._data import load_labelled, Split
from experiments._log import table
from experiments._report import joined, markdown, page, read as read_runs
from experiments._run import Run
from experiments._sizes import of_transitions
from experiments._tasks import Classification
from experiments._trial import Trial

from .files import write_pictures
from .helpers import perturbed
from .test_experiments import broadcasting as broadcasting, read
from .test_uea import cases, write


@pytest.mark.slow
def test_digits_run_and_resume_with_their_own_options(tmp_path, broadcasting):
    folder = tmp_path / "run"
    options = ["--steps", "3", "--learning-rates", "1e-3", "1e-2", "--models"]
    names = "low rank", "subspace, dropout, values", "subspace, dropout, bounded"
    options += [*names, "--out", str(folder)]
    main(["classification", "--dataset", "digits", *options])
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["experiment"], summary["dataset"]) == ("classification", "digits")
    rows = {row["model"]: row for row in summary["results"]}
    assert tuple(rows) == names
    for name, row in rows.items():
        # A bounded model's drive is chosen too.
        assert len(row["tried"]) == (4 if "bounded" in name else 2)
        assert row["steps"] == 3
        assert row["learning_rate"] in (1e-3, 1e-2)
        assert row["validation"] == min(row["tried"].values())
        assert set(row["metrics"]) == {"test_accuracy", "test_nll"}
    assert len({row["state_size"] for row in rows.values()}) == 1
    before = read(folder)
    assert len(before[1]) == 3 * 2 * (1 + 1 + 2)
    main(["classification", "--resume", str(folder)])
    assert read(folder) == before


@pytest.mark.slow
def test_a_set_of_one_s_own_runs_with_padding(tmp_path, broadcasting):
    write(tmp_path / "uea", train=cases(12, 0, (3, 5)), test=cases(4, 1, (4, 2)))
    folder = tmp_path / "run"
    options = ["--steps", "2", "--learning-rates", "1e-3", "--out", str(folder)]
    options += ["--data", str(tmp_path)]
    main(["classification", "--dataset", "Toy", *options])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["dataset"] == "Toy"
    models = [row["model"] for row in summary["results"]]
    warps = ["dense", "low rank", "subspace", "subspace, dropout"]
    assert models == [*warps, "LRU", "random convolutions"]
    # Interrupted before the last model was done, it finds its data again.
    (folder / "summary.json").unlink()
    (folder / "models" / "subspace.json").unlink()
    main(["classification", "--resume", str(folder)])
    again = json.loads((folder / "summary.json").read_text())
    assert again["results"] == summary["results"]


@pytest.mark.slow
def test_pictures_are_read_pixel_by_pixel(tmp_path, broadcasting):
    write_pictures(tmp_path)
    folder = tmp_path / "run"
    options = ["--steps", "1", "--out", str(folder), "--data", str(tmp_path)]
    main(["classification", "--dataset", "mnist", *options])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["dataset"] == "mnist"
    rows = {row["model"]: row for row in summary["results"]}
    assert tuple(rows) == DEFAULTS["mnist"].quick
    sizes = [row["parameters"] for row in rows.values()]
    assert max(sizes) < 1.05 * min(sizes)
    assert {row["learning_rate"] for row in rows.values()} == {1e-2}


def test_pictures_and_series_come_the_same_way(tmp_path):
    write_pictures(tmp_path)
    pictures, series = (
        load_labelled("mnist", tmp_path),
        load_labelled("digits", tmp_path),
    )
    for data, length, classes in ((pictures, 784, 10), (series, 64, 10)):
        assert data.classes == classes
        for part in (data.validation, data.test):
            assert part.sequences().xs.shape == (len(part.labels), length, 1)
        batch = data.batches(5, key=jax.random.key(0))(0)
        assert batch.xs.shape == (5, length, 1) and batch.labels.shape == (5,)
    labels = [part.labels for part in pictures.parts]
    assert [len(part) for part in labels] == [36, 4, 40]


@pytest.mark.parametrize(
    "options, fragment",
    (
        (["--learning-rates", "0"], "got 0.0"),
        (["--learning-rates", "1e-3", "1e-3"], "different"),
        (["--learning-rates"], "got none"),
        (["--dataset", "../Toy"], "--dataset ../Toy"),
        (["--dataset", "Toy"], "Toy_TRAIN.ts:3"),
    ),
)
def test_wrong_options_are_refused_in_plain_words(options, fragment, tmp_path, capsys):
    write(tmp_path, header="@problemName Toy\n\n")
    with pytest.raises(SystemExit) as caught:
        main(["classification", "--data", str(tmp_path), *options])
    assert caught.value.code == 2
    assert fragment in "".join(capsys.readouterr()).replace("\n", " ")


class Point(eqx.Module):
    """A model that is one number, pulled to where `goal` says."""

    at: jax.Array

    @staticmethod
    def trial(name: str, goal: float, tested: list[str]) -> Trial:
        def test(model: Any) -> dict[str, float]:
            tested.append(name)
            return {"test_at": float(model.at)}

        return Trial(
            name=name,
            model=Point(jnp.zeros(())),
            loss=lambda model, batch, key: (model.at - goal) ** 2,
            batches=lambda step: None,
            steps=20,
            state_size=1,
            validate=lambda model: (model.at - 0.1) ** 2,
            test=test,
            learning_rate=0.02,
        )


@pytest.mark.slow
def test_validation_chooses_and_only_the_chosen_is_tested(tmp_path, broadcasting):
    tested: list[str] = []
    goals = {"diverges": jnp.nan, "wrong way": -1.0, "right": 1.0, "also wrong": -2.0}
    trials = [Point.trial(name, goal, tested) for name, goal in goals.items()]
    run = Run("test", "points", Config(out=tmp_path / "run"))
    model = run.choose("point", trials)
    assert tested == ["right"] and model.at > 0
    (row,) = run.results
    assert (row["model"], row["trial"]) == ("point", "right")
    assert row["tried"]["diverges"] is None and row["tried"]["wrong way"] >= 0.01 - 1e-6
    resumed = Run("test", "points", Config(resume=tmp_path / "run"))
    assert resumed.choose("point", trials).at == model.at
    assert tested == ["right"] and resumed.results == run.results


def test_where_all_trials_diverge_the_error_is_theirs(tmp_path, broadcasting):
    run = Run("test", "points", Config(out=tmp_path / "run"))
    trials = [Point.trial(name, jnp.nan, []) for name in ("one", "two")]
    with pytest.raises(FloatingPointError, match="loss was nan"):
        run.choose("point", trials)


def test_what_diverges_is_told_and_others_go_on(tmp_path, broadcasting):
    run = Run("test", "points", Config(out=tmp_path / "run"))
    lost = [Point.trial(name, jnp.nan, []) for name in ("one", "two")]
    run.attempt("lost", lost)
    run.attempt("point", [Point.trial("right", 1.0, [])])
    summary = run.finish()
    row, found = summary["results"]
    assert row["metrics"] == {} and "loss was nan" in row["diverged"]
    assert len(row["tried"]) == 4 and set(row["tried"].values()) == {None}
    assert found["metrics"]["test_at"] > 0
    resumed = Run("test", "points", Config(resume=tmp_path / "run"))
    resumed.attempt("lost", [])
    assert resumed.results == [row]
    records = read_runs([tmp_path / "run"])
    (entry,) = joined(records)
    assert entry.model == "point"
    for shown in (markdown(records, [entry]), page(records, [entry])):
        assert "Diverged at every rate: lost (seed 0)." in shown
    cells = list(table(summary).columns[0].cells)
    assert cells == ["lost (diverged)", "point"]


@pytest.mark.parametrize("limit, third, tried", ((0.08, True, 3), (0.03, False, 4)))
def test_where_all_trials_diverge_lower_rates_are_tried(
    limit, third, tried, tmp_path, broadcasting
):
    """Only where none is left, and from the lowest rate that was asked for."""

    def loss(model, batch, key):
        return jnp.where(model.at > limit, jnp.nan, (model.at - 1.0) ** 2)

    trial = dataclasses.replace(Point.trial("point", 1.0, []), loss=loss)
    trials = trial.at([0.04, 0.02])
    run = Run("test", "points", Config(out=tmp_path / "run"))
    run.choose("point", trials)
    (row,) = run.results
    assert row["learning_rate"] == pytest.approx(0.02 / (3 if third else 9))
    assert len(row["tried"]) == tried
    assert row["tried"]["point, rate 0.04"] is row["tried"]["point, rate 0.02"] is None
    resumed = Run("test", "points", Config(resume=tmp_path / "run"))
    resumed.choose("point", trials)
    assert resumed.results == run.results


def test_values_tell_where_a_sequence_starts_and_increments_do_not():
    models = warps(Defaults(), 2, 3, length=9, preset="quick", key=jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (9, 2))
    for name, choices in models.items():
        for driven, model in choices.items():
            model = perturbed(model, scale=0.03)
            moved = np.max(np.abs(model(xs + 1.0) - model(xs)))
            told = "values" in name + driven
            assert (moved > 1e-2) if told else (moved < 1e-3), (name, driven, moved)


@pytest.mark.parametrize("name", ["dense", "low rank", "subspace", "subspace, dropout"])
def test_a_bounded_model_is_the_model_with_its_logits_bounded(name):
    models = warps(Defaults(), 2, 3, length=9, preset="quick", key=jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (9, 2))
    assert set(models[f"{name}, bounded"]) == {"increments", "values"}
    for plain, driven in ((name, "increments"), (f"{name}, values", "values")):
        (free,) = models[plain].values()
        bounded = models[f"{name}, bounded"][driven]
        free, bounded = (perturbed(model, scale=0.5) for model in (free, bounded))
        logits = np.asarray(free(xs), np.float64)
        squares = np.mean(logits**2, axis=1, keepdims=True)
        assert np.max(squares) > 25
        want = logits / np.sqrt(1 + squares / 25)
        np.testing.assert_allclose(bounded(xs), want, rtol=1e-4, atol=1e-4)


def test_the_size_of_A_is_told_without_B(tmp_path, broadcasting):
    models = warps(
        Defaults(modes=4), 2, 3, length=9, preset="quick", key=jax.random.key(0)
    )
    named: dict[str, Any] = {n: next(iter(m.values())) for n, m in models.items()}
    p = named["dense"].decoder.state_size
    want = {
        "dense": p**2,
        "low rank": 1 + 2 * p * 4,
        # Decay and phase of each of four complex modes, and the map from them.
        "subspace": 2 * 4 + p * 8,
        "subspace, dropout": 2 * 4 + p * 8,
    }
    named["two layers"] = wj.Stacked(
        eqx.nn.Linear(2, 2, key=jax.random.key(0)),
        [wj.StackedLayer(named["dense"], 2, key=jax.random.key(0))],
        named["low rank"],
    )
    want["two layers"] = want["dense"] + want["low rank"]
    sizes = {
        name: of_transitions(model) for name, model in named.items() if name in want
    }
    assert sizes == {name: {"transition_parameters": n} for name, n in want.items()}
    run = Run("test", "sizes", Config(out=tmp_path / "run"))
    small = Point.trial("small", 1.0, [])
    model = small.model, wj.DiagonalTransition(3, 2)
    both = dataclasses.replace(
        small,
        name="with A",
        model=model,
        loss=lambda model, batch, key: model[0].at ** 2,
        validate=None,
        test=lambda model: {},
    )
    run.choose("with A", [both])
    run.choose("without", [small])
    found, none = run.results
    assert found["transition_parameters"] == 3 and found["parameters"] == 1 + 3 + 3 * 2
    assert "transition_parameters" not in none


def test_a_bounded_lru_has_the_bound_the_drives_and_the_dropout():
    key, other = jax.random.split(jax.random.key(0))
    fitting: dict[str, Any] = {"length": 9, "parameters": 3000, "key": key}
    xs = jax.random.normal(other, (9, 2))
    models = bounded_lrus(2, 3, dropout=0.4, **fitting)
    assert set(models) == {"increments", "values"}
    for driven, model in models.items():
        model = perturbed(model, scale=0.5)
        logits = np.asarray(model(xs))
        norm = np.sqrt(np.mean(logits**2, axis=1))
        assert 4 < np.max(norm) < 5 + 1e-5
        moved = np.max(np.abs(model(xs + 1.0) - logits))
        assert (moved > 1e-2) if driven == "values" else (moved < 1e-3), (driven, moved)
        assert np.max(np.abs(model(xs, key=key) - logits)) > 1e-2
    (whole, _) = bounded_lrus(2, 3, dropout=0.0, **fitting).values()
    np.testing.assert_array_equal(whole(xs, key=key), whole(xs))


def test_a_name_in_full_is_that_model_alone(tmp_path):
    names = "subspace", "subspace, dropout", "LRU", "LRU, stronger"

    def wanted(*models):
        out = tmp_path / "-".join(models)
        run = Run("test", "points", Config(out=out, models=models), names)
        return [name for name in names if run.wants(name)]

    assert wanted("Subspace", "lru") == ["subspace", "LRU"]
    assert wanted("subspace,") == ["subspace, dropout"]
    assert wanted("stronger", "dropout") == ["subspace, dropout", "LRU, stronger"]
    assert wanted("subs") == ["subspace", "subspace, dropout"]
    assert wanted() == list(names)


def test_accuracy_decides_and_the_likelihood_breaks_ties():
    class Fixed(wj.AbstractModel):
        logits: jax.Array

        def __call__(self, *args, **kwargs):
            raise NotImplementedError

        init = step = __call__

        def final(self, xs, ts=None, *, mask=None, state=None, key=None) -> Any:
            return xs[0, 0]

        def read(self, state: Any, time):
            return self.logits[state.astype(int)]

    labels = np.array([0, 1, 1, 0], np.int32)
    xs = np.arange(4, dtype=np.float32)[:, None, None]
    split = Split(xs, labels)

    def logits(*right):
        """Returns logits of which those of `right` are so sure of the true class."""
        signs = np.where(labels[:, None] == np.arange(2), 1.0, -1.0)
        return Fixed(jnp.asarray(signs * np.array(right)[:, None]))

    surely = logits(9.0, 9.0, 9.0, -9.0)
    barely = logits(0.1, 0.1, 0.1, -0.1)
    worse = logits(0.1, 0.1, -0.1, -0.1)
    by_accuracy = Classification(by_accuracy=True).validate(split)
    assert by_accuracy(barely) < by_accuracy(surely) < by_accuracy(worse)
    by_nll = Classification().validate(split)
    assert by_nll(barely) < by_nll(worse) < by_nll(surely)
    assert 0.25 < by_accuracy(surely) < 0.5
