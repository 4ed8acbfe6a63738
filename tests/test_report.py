"""Runs become records, entries, a page and Markdown."""

import base64
import dataclasses
import json
import re

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments.__main__ import main
from experiments._config import Config
from experiments._report import joined, markdown, page, read
from experiments._report.cells import Cell
from experiments._report.entries import better, chosen, Sample
from experiments._report.figures import integer, mean, number, spread
from experiments._run import FRAMES, Run

from . import runs


def test_a_tree_of_runs_and_copies_is_read(tmp_path):
    runs.folder(tmp_path / "a" / "run", seed=1)
    runs.copy(tmp_path / "b" / "sine-seed0.json")
    record, copied = read([tmp_path])
    assert record.path == tmp_path / "a" / "run" and copied.seed == 0
    assert record.config == {"experiment": "sine", "seed": 0}
    assert [p["loss"] for p in record.curves["GRU"]] == [1, 1 / 2, 1 / 3]
    assert [p.name for p in record.figures] == ["<examples>.png"]
    assert record.weights is not None and record.weights.labels == ["a <0>", "b"]
    assert record.weights.layers["layers[0].weight"].shape == (2, 3, 2, 3)
    assert not copied.curves and copied.weights is None
    # The same place twice is one run.
    assert len(read([tmp_path, tmp_path / "a" / "run"])) == 2


@pytest.mark.parametrize(
    "change, fragment",
    (
        ({"seed": None}, "has null as 'seed'"),
        ({"seed": True}, "not a int"),
        ({"results": {}}, "has {} as 'results'"),
        ({"results": [1]}, "result 0 is 1, not an object"),
        ({"results": [{"model": "GRU"}]}, "result 0 has no 'metrics'"),
        ({"results": [runs.row(metrics={"mse": "low"})]}, "has \"low\" as 'mse'"),
        ({"results": [runs.row(metrics={"mse": None})]}, "has null as 'mse'"),
        ({"results": [runs.row(steps=1.5)]}, "has 1.5 as 'steps'"),
        ({"results": [runs.row(validation="x")]}, "has \"x\" as 'validation'"),
    ),
)
def test_a_malformed_summary_is_refused_with_its_path(change, fragment, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(runs.summary() | change))
    with pytest.raises(ValueError, match=r"copies of the summary\.json") as caught:
        read([path])
    assert str(path) in str(caught.value) and fragment in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        read([])
    with pytest.raises(ValueError, match="nothing is there"):
        read([tmp_path / "none"])
    with pytest.raises(ValueError, match=r"neither a config\.json"):
        read([tmp_path])
    path = tmp_path / "text.json"
    for text in (b"{", b"\xff", b"[]"):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"text\.json"):
            read([path])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"experiment": "msd"}')
    with pytest.raises(ValueError, match=r"experiments msd --resume .*run"):
        read([tmp_path / "run"])


def test_damaged_curves_and_weights_are_refused(tmp_path):
    run = runs.folder(tmp_path / "run")
    lines = run / "metrics.jsonl"
    good = lines.read_text()
    for bad in ('{"model"', "1", '{"loss": 1}', good.replace("GRU", "LRU")[:30]):
        lines.write_text(good + bad)
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 4"):
            read([run])
    # A line of `speed` is no line of a training.
    lines.write_text(good + '{"section": "GEMM"}')
    assert list(read([run])[0].curves) == ["GRU"]
    for bad in (
        {"times": np.ones(2)},
        {"labels": np.array([])},
        {"layer x": np.full((2, 3, 1), np.nan)},
        {"layer x": np.ones((2, 3, 1, 1, 1))},
        {"labels": np.array([{}, {}], object)},
    ):
        runs.weights(run, **bad)
        with pytest.raises(ValueError, match=r"weights\.npz .* Delete it"):
            read([run])
    (run / "weights.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"weights\.npz .* Delete it"):
        read([run])


def test_seeds_are_joined_and_budgets_are_not(tmp_path):
    figures = [0.3, 0.1, 0.8]
    for seed, figure in enumerate(figures):
        metrics = {"forecast_mse": figure} | ({} if seed else {"extra": 1.0})
        rows = [
            runs.row("small (10): GRU", metrics, learning_rate=0.01 * (seed + 1)),
            runs.row("GRU", metrics, probe="5 steps given"),
            runs.row("LRU", metrics, steps=100 * (seed + 1)),
        ]
        runs.copy(tmp_path / f"{seed}.json", *rows, seed=seed)
    task, probe, *apart = joined(read([tmp_path]))
    assert (task.task, task.model, task.seeds) == ("small (10)", "GRU", (0, 1, 2))
    assert (probe.task, probe.model) == ("5 steps given", "GRU")
    assert [(e.model, e.steps, e.seeds) for e in apart] == [
        ("LRU", 100 * (seed + 1), (seed,)) for seed in range(3)
    ]
    # Not all seeds have it.
    assert list(task.metrics) == ["forecast_mse"]
    sample = task.metrics["forecast_mse"]
    assert sample.mean == pytest.approx(np.mean(figures))
    assert sample.median == np.median(figures)
    assert sample.deviation == pytest.approx(np.std(figures, ddof=1))
    assert (sample.least, sample.most) == (0.1, 0.8)
    assert task.search["learning_rate"].values == (0.01, 0.02, 0.03)
    runs.copy(tmp_path / "again.json", runs.row("small (10): GRU"), seed=1)
    with pytest.raises(
        ValueError, match=r"1\.json and .*again\.json both|a seed counts"
    ):
        joined(read([tmp_path]))


def test_validation_chooses_among_models_seed_by_seed(tmp_path):
    figures = {"GRU": ((0.2, 0.7), (0.4, 0.5)), "LRU": ((0.3, 0.9), (0.1, 0.2))}
    for seed in range(2):
        rows = [
            runs.row(
                model,
                {"test_accuracy": of[seed][1], "test_nll": 1.0},
                validation=of[seed][0],
            )
            for model, of in figures.items()
        ]
        rows += [runs.row("S5", {"test_accuracy": 0.4}, validation=0.2)][seed:]
        runs.copy(tmp_path / f"{seed}.json", *rows, seed=seed)
    entries = joined(read([tmp_path]))
    cell = Cell.of({"models": ["GRU", "LRU"], "metric": "test_accuracy"})
    assert cell.sample(entries).values == (0.7, 0.2)
    (found,) = cell.entries(entries)
    assert (found.model, found.seeds, found.parameters) == ("GRU or LRU", (0, 1), 0)
    assert found.search["validation"].values == (0.2, 0.1)
    # Of equal ones the first, and what not all have is left out.
    tied = chosen([entry for entry in entries if entry.model in ("S5", "GRU")])
    assert tied.metrics["test_accuracy"].values == (0.7,) and tied.seeds == (0,)
    assert set(tied.metrics) == {"test_accuracy"}
    with pytest.raises(ValueError, match="a `validation` of each"):
        chosen([entries[0], dataclasses.replace(entries[1], search={})])
    with pytest.raises(ValueError, match="a seed that all have"):
        chosen([entries[0], dataclasses.replace(entries[1], seeds=(5, 6))])
    sizes = {"metric": "parameters"}, {"metric": "transition_parameters"}
    for wrong in ({"model": "GRU"}, *sizes):
        with pytest.raises(ValueError, match="`models` are chosen among"):
            Cell.of({"models": ["GRU", "LRU"], "metric": "mse"} | wrong)


@pytest.mark.parametrize(
    "value, digits, text",
    (
        (0.9644, 3, ".964"),
        (-0.5611, 3, "-.561"),
        (0.0996, 2, ".10"),
        (9.996, 3, "10.0"),
        (12.0, 2, "12"),
        (47.2, 1, "50"),
        (55403, 3, "55 400"),
        (0.001, 2, ".0010"),
        (0.00099, 2, "9.9e-4"),
        (2.06e-14, 2, "2.1e-14"),
        (9.96e-5, 2, "1.0e-4"),
        (0.0, 2, "0"),
        (float("inf"), 2, "inf"),
        (float("nan"), 2, "nan"),
    ),
)
def test_numbers_have_their_significant_digits(value, digits, text):
    assert number(value, digits) == text
    if np.isfinite(value):
        assert float(text.replace(" ", "")) == float(f"{value:.{digits - 1}e}")


def test_sizes_are_whole_numbers(tmp_path):
    row = runs.row("WARP", {"test_mse": 0.5}, transition_parameters=158404)
    for seed in range(2):
        runs.copy(tmp_path / f"{seed}.json", row, seed=seed)
    cell = Cell.of({"model": "WARP", "metric": "transition_parameters"})
    assert cell.text(joined(read([tmp_path]))) == "158 404"
    runs.copy(tmp_path / "0.json", row | {"transition_parameters": "many"}, seed=0)
    with pytest.raises(ValueError, match="'transition_parameters'"):
        read([tmp_path])


def test_a_mean_and_its_spread_have_the_same_decimals():
    assert mean(Sample((0.96, 0.97)), 3) == ".965 ± .007"
    assert mean(Sample((2.0e-14, 2.2e-14)), 2) == "2.1e-14 ± .1e-14"
    assert mean(Sample((2.48, 2.481)), 2) == "2.5 ± 7e-4"
    assert mean(Sample((0.5,)), 2) == mean(Sample((0.5, 0.5)), 2) == ".50"
    assert mean(Sample((0.5, 0.5 + 1e-10)), 2) == ".50"
    assert mean(Sample((0.5, float("inf"))), 2) == "inf"
    assert spread(Sample((1.0, 2.0, 6.0)), 2) == "3.0 (2.0; 1.0–6.0)"
    assert spread(Sample((1.0, 1.0)), 2) == "1.0"
    assert integer(162800) == "162 800"


@pytest.fixture
def reported(tmp_path):
    """A page and its Markdown, of two models with names that HTML must not take as its."""
    evil = "<script>alert('x')</script>|"
    for seed in (0, 1):
        rows = [
            runs.row("A", {"forecast_mse": 0.1 + seed, "coverage_95": 0.9}),
            runs.row(evil, {"forecast_mse": 0.2 + seed, "coverage_95": 0.8}),
            runs.row("A", {"test_accuracy": 0.5}, probe="p"),
            runs.row("B", {"test_accuracy": 0.75}, probe="p"),
        ]
        runs.folder(tmp_path / f"run{seed}", *rows, seed=seed)
    records = read([tmp_path])
    return page(records, joined(records)), markdown(records, joined(records))


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(reported):
    text, _ = reported
    assert "alert('x')</script>" not in text and "&lt;script&gt;alert" in text
    assert "<examples>" not in text and "a &lt;0&gt;" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "http" not in re.sub('data:image/png;base64,[^"]*', "", text)
    assert not re.search(r"\$[a-z]", text.split("<script>")[0])
    # Two tables, whose metrics have nothing in common, two charts and figures a run.
    assert text.count("<table>") == 2 and text.count('class="chart"') == 4
    assert text.count("<img alt=") == 2 and text.count('class="weights"') == 2
    assert "<strong>.600 ± .707</strong>" in text and "<strong>.750</strong>" in text
    # Nothing says which coverage is better.
    assert "<strong>.900" not in text
    # What is not finite leaves a gap of the curve, and a wide range a logarithm.
    assert len(re.findall(r'points="[^ ]+ [^ ]+"', text)) == 2
    (validation, *_) = re.findall(r"validation</text>(.*?)</svg>", text)
    ticks = [float(x) for x in re.findall(r'end">(.*?)</text>', validation)]
    assert len(ticks) > 2 and np.allclose(np.diff(np.log10(ticks)), 1)


@pytest.mark.parametrize(
    "metric, sign",
    [
        ("test_accuracy", 1),
        ("in_range_forecast_mse", -1),
        ("bits_per_dim", -1),
        ("beyond_relative_error_median", -1),
        ("coverage_95", 0),
    ],
)
def test_which_metrics_are_to_be_large_or_small(metric, sign):
    assert better(metric) == sign


def test_the_weights_of_the_page_are_those_of_the_file(reported):
    text, _ = reported
    (data, _) = re.findall(r'application/json">(.*?)</script>', text)
    weight = json.loads(data)["layers"][0]
    assert (weight["rows"], weight["columns"]) == (2, 3)
    decoded = np.frombuffer(base64.b64decode(weight["weights"]), np.int8)
    change = np.frombuffer(base64.b64decode(weight["change"]), np.int8)
    wanted = 1 + np.array([[0, 0.5, 1], [0, -1, -2]])
    np.testing.assert_allclose(
        decoded.reshape(2, 3, 6)[..., 0] / 127 * 2, wanted, atol=0.01
    )
    np.testing.assert_allclose(
        change.reshape(2, 3, 6)[..., 5] / 127 * 2, wanted - 1, atol=0.01
    )


def test_markdown_has_the_same_tables(reported):
    _, text = reported
    lines = text.splitlines()
    assert lines[0] == "## sine, preset quick"
    titles = "| model | forecast_mse | coverage_95 | state size | parameters | steps |"
    assert lines[2] == f"{titles} seeds |"
    assert lines[4] == "| A | **.600 ± .707** | .900 | 4 | 10 | 100 | 2 |"
    assert all(line.count("|") - line.count("\\|") == 8 for line in lines[2:6])


def test_the_command_writes_and_refuses(tmp_path, capsys):
    run = runs.folder(tmp_path / "run")
    main(["report", str(run), "--out", str(tmp_path / "out")])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"index.html", "report.md"}
    file = tmp_path / "doc.md"
    file.write_text(
        'It has .3: <!-- figure model = "GRU", metric = "forecast_mse" -->'
        "?<!-- end of figure -->"
    )
    main(["report", str(run), "--markdown", str(file)])
    assert ".500<!-- end" in file.read_text()
    assert ".3 is between no markers" in capsys.readouterr().err
    for arguments, fragment in (
        ([str(tmp_path / "none")], "nothing is there"),
        ([str(run), "--out", str(file)], "Choose another folder"),
        ([str(run), "--markdown", str(tmp_path / "none.md")], "needs a file of text"),
    ):
        with pytest.raises(SystemExit):
            main(["report", *arguments])
        assert fragment in " ".join(capsys.readouterr().err.split())


def test_a_run_writes_the_weights_that_the_page_shows(tmp_path, getkey):
    network = eqx.nn.MLP(1, 2, 3, 1, key=getkey())
    decoder = wj.NetworkDecoder(network)
    thetas = np.asarray(jr.normal(getkey(), (2, 50, decoder.state_size)))
    run = Run("digits", "digits", Config(out=tmp_path / "run"))
    run.weights(decoder.unflatten, thetas, ["a", 3])
    with np.load(run.folder / "weights.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["labels"].tolist() == ["a", "3"]
    steps = np.rint(arrays["times"] * 49).astype(int)
    assert len(steps) == FRAMES and steps[0] == 0 and steps[-1] == 49
    for frame in (0, 7, FRAMES - 1):
        wanted = decoder.unflatten(jax.numpy.asarray(thetas[1, steps[frame]]))
        found = arrays["layer layers[1].weight"][1, frame]
        np.testing.assert_array_equal(found, wanted.layers[1].weight)
        found = arrays["layer layers[0].bias"][1, frame]
        np.testing.assert_array_equal(found, wanted.layers[0].bias)
    assert {k for k in arrays if k.startswith("layer ")} == {
        f"layer layers[{i}].{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }
