"""Tables and figures of the documentation are those that the results give."""

import json
import pathlib
import re
import tomllib
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from experiments.__main__ import main
from experiments._report import bare, fill, joined, picture, read

from . import runs


ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
CLAIMING = (
    "README.md",
    "docs/index.md",
    "docs/start.md",
    "docs/training.md",
    "docs/faq.md",
    "docs/results.md",
    "docs/experiments.md",
    "docs/choosing.md",
    "docs/rivals.md",
    "docs/stability.md",
    "docs/paper.md",
    "docs/peers.md",
    "docs/algebra.md",
    "docs/sequences.md",
)
PICTURES = sorted((ROOT / "docs" / "figures").glob("*.toml"))
ENTRIES = joined(read([RESULTS]))

TABLE = """before .5
<!-- table
experiment = "sine"
dataset = "sine"
task = ""
digits = 2
columns = [
  {{title = "mse", metric = "forecast_mse"{column}}},
  {{title = "sizes", metric = "parameters"}},
]
rows = [{rows}]
{more}
-->
stale .7
<!-- end of table -->
after"""


def table(rows='"A", "B"', column="", more=""):
    return TABLE.format(rows=rows, column=column, more=more)


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        rows = [
            runs.row("A", {"forecast_mse": 0.25 + seed / 10, "other": 4.0}),
            runs.row("B", {"forecast_mse": 0.5}),
            runs.row("easy: A", {"test_accuracy": 0.5}),
            runs.row("easy: B", {"test_accuracy": 0.75}),
            runs.row("C", {"forecast_mse": 16.0}, steps=seed + 1),
        ]
        runs.copy(folder / f"{seed}.json", *rows, seed=seed)
        rows = [runs.row("A", {"test_accuracy": 0.6 + seed / 5})]
        runs.copy(folder / f"D{seed}.json", *rows, seed=0, dataset=f"D{seed}")
    runs.copy(folder / "leaking.json", runs.row("A"), dataset="traffic (leaking)")
    return joined(read([folder]))


def made(text, entries):
    """Returns the lines of the first table that is filled."""
    return [p for p in fill(text, entries).split("\n") if p.startswith(("|", "*"))]


@pytest.mark.parametrize("name", CLAIMING)
def test_the_documentation_says_what_the_results_say(name):
    text = (ROOT / name).read_text()
    again = "python -m experiments report docs/results --markdown " + name
    assert fill(text, ENTRIES, name) == text, f"run `{again}`"
    assert bare(text) == []


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_shows_what_the_results_say(path):
    again = f"run `python -m experiments report docs/results --pictures {path.name}`"
    made = picture(tomllib.loads(path.read_text()), ENTRIES)
    assert made == path.with_suffix(".svg").read_text(), again


def test_bars_are_as_long_as_their_figures(entries, tmp_path):
    keys = {
        "title": "a < b",
        "experiment": "sine",
        "dataset": "sine",
        "task": "",
        "metric": "forecast_mse",
        "columns": [{"title": "error"}],
        "rows": ["A", "B", "C"],
    }
    # C has two rows, for its steps differ.
    with pytest.raises(ValueError, match="they choose 2"):
        picture(keys, entries)
    found = ET.fromstring(picture(keys | {"rows": ["A", "B"]}, entries))
    drawn = [e for e in found.iter() if e.get("class") == "c0" and e.get("height")]
    long = [float(e.get("width") or 0) for e in drawn[1:]]
    # One decade is drawn, from .1 to 1.
    assert long == pytest.approx([400 * 0.4771, 400 * 0.6990], abs=0.1)
    said = [e.text for e in found.iter() if (e.tag or "").endswith("}text")]
    assert {"a < b", "A", "B", ".300 ± .071", ".500"} <= set(said)
    assert "A: .300" in found.attrib["aria-label"]
    for change, fragment in (
        ({"columns": [{"title": str(i)} for i in range(4)]}, "at most 3 columns"),
        ({"labels": ["a", "b"], "rows": [{"label": ["A", ""]}]}, "one label"),
        ({"metric": "forecast_mse", "scale": -1.0}, "above zero"),
        ({"colour": "red"}, "knows no colour"),
        ({"rows": [{"model": "A", "cells": {"error": ""}}]}, "needs a figure; got ''"),
        ({"dataset": "traffic (leaking)"}, "needs to say 'leaking'"),
    ):
        with pytest.raises(ValueError, match=fragment):
            picture(keys | {"rows": ["A"]} | change, entries)


def test_lines_go_through_their_figures(entries):
    keys = {
        "kind": "lines",
        "title": "a < b",
        "across": "hardness",
        "experiment": "sine",
        "dataset": "sine",
        "columns": [
            {"title": "two", "at": 2, "task": "", "metric": "forecast_mse"},
            {"title": "one", "at": 1, "task": "easy", "metric": "test_accuracy"},
            {"title": "five", "at": 5, "task": "easy", "metric": "test_accuracy"},
        ],
        "rows": ["A", {"label": "B & co", "model": "B"}],
    }
    found = ET.fromstring(picture(keys, entries))
    drawn = [e.get("points", "") for e in found.iter() if "polyline" in e.tag]
    # A line, and its colour beside its name.
    assert len(drawn) == 4
    # Along .25 of the axis, all of it and none; up .30 / (.75 * 1.04) of its height.
    left, wide, floor, tall = 56, 680, 328, 254
    high = 0.75 * 1.04
    wanted = [(0.25, 0.30), (0, 0.5), (1, 0.5)], [(0.25, 0.5), (0, 0.75), (1, 0.75)]
    for points, of_row in zip(drawn[::2], wanted):
        places = [tuple(map(float, point.split(","))) for point in points.split()]
        exact = [(left + wide * x, floor - tall * y / high) for x, y in of_row]
        assert np.allclose(places, exact, rtol=0, atol=0.1)
    # Of A the seeds differ at one place.
    bars = [e.get("d", "") for e in found.iter() if e.get("stroke-width") == "4"]
    low, top = floor - tall * 0.25 / high, floor - tall * 0.35 / high
    (bar,) = bars
    ends = [float(end) for end in re.split("[MV ]", bar) if end]
    assert np.allclose(ends, [left + wide / 4, low, top], rtol=0, atol=0.1)
    said = [e.text for e in found.iter() if (e.tag or "").endswith("}text")]
    assert {"a < b", "A", "B & co", "hardness", "two", "five"} <= set(said)
    told = (
        "a < b, by hardness: two, one, five. A: .300 ± .071, .500, .500; B & co: .500"
    )
    assert found.attrib["aria-label"].startswith(told)
    columns = keys["columns"]
    for change, fragment in (
        ({"kind": "pie"}, "one of bars, lines; got 'pie'"),
        ({"columns": columns[:1]}, "different numbers as `at`; got .2."),
        ({"columns": [columns[0], columns[0]]}, "different numbers"),
        ({"columns": [{"title": "x"}]}, "different numbers as `at`; got .None."),
        ({"rows": ["A"] * 7}, "at most 6 rows"),
        ({"rows": ["A"], "scale": -1.0}, "zero or more"),
        ({"rows": [{"model": "A", "cells": {"two": ""}}]}, "a line needs a figure"),
        ({"colour": "red"}, "knows no colour"),
    ):
        with pytest.raises(ValueError, match=fragment):
            picture(keys | change, entries)


def test_pictures_are_drawn_beside_their_keys(tmp_path, capsys):
    runs.copy(tmp_path / "run.json", runs.row("A"), runs.row("B"))
    path = tmp_path / "bars.toml"
    path.write_text(
        'metric = "forecast_mse"\ncolumns = [{title = "error"}]\nrows = ["A", "B"]\n'
    )
    main(["report", str(tmp_path / "run.json"), "--pictures", str(path)])
    assert ".500" in path.with_suffix(".svg").read_text()
    path.write_text("rows = [")
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "run.json"), "--pictures", str(path)])
    assert "bars.toml` needs a file of keys in TOML" in "".join(capsys.readouterr())


def test_a_changed_result_or_a_changed_figure_is_noticed(tmp_path):
    text = (ROOT / "docs" / "results.md").read_text()
    for path in RESULTS.rglob("*.json"):
        new = tmp_path / path.relative_to(RESULTS)
        new.parent.mkdir(exist_ok=True)
        value = json.loads(path.read_text())
        if path == RESULTS / "msd" / "msd-seed1.json":
            metrics = {r["model"]: r["metrics"] for r in value["results"]}
            metrics["Transformer"]["forecast_mse"] *= 10
        new.write_text(json.dumps(value))
    changed = fill(text, joined(read([tmp_path])))
    # Its cell, and the figure that it is divided in.
    assert sum(a != b for a, b in zip(text.split("\n"), changed.split("\n"))) == 2
    by_hand = text.replace("| Transformer | .", "| Transformer | 1.", 1)
    assert by_hand != text == fill(by_hand, ENTRIES)


def test_a_table_is_made_and_the_rest_stays(entries):
    text = fill(table(), entries)
    assert text.startswith("before .5\n<!-- table\n") and text.endswith("\nafter")
    assert "stale" not in text and fill(text, entries) == text
    assert made(text, entries) == [
        "| model | mse | sizes |",
        "|---|---|---|",
        "| A | **.30 ± .07** | 10 |",
        "| B | .50 | 10 |",
        "*Seeds 0 and 1: mean ± standard deviation.*",
    ]
    spread = made(table(more='show = "spread"\nbest = "none"'), entries)
    assert spread[2] == "| A | .30 (.30; .25–.35) | 10 |"
    assert spread[-1] == "*Seeds 0 and 1: mean (median; range).*"


def test_what_is_shown_as_code_stays(entries):
    shown = f"```markdown\n{table()}\n```\n"
    assert fill(shown, entries) == shown
    both = fill(shown + table(), entries)
    assert both.startswith(shown) and both.count("| A | **.30 ± .07** | 10 |") == 1


def test_cells_have_roots_factors_ratios_and_asides(entries):
    rows = '{label = "A", model = "A", cells = {sizes = "by hand"}}'
    for column, cell in (
        (", root = true", ".55 ± .06"),
        (", scale = 100.0", "30 ± 7"),
        (', aside = "other"', ".30 ± .07 (4.0)"),
        (', over = {model = "B"}', ".60"),
        # A row goes before a column.
        (', model = "B"', ".30 ± .07"),
    ):
        line = made(table(rows, column), entries)[2]
        assert line == f"| A | {cell} | by hand |"


def test_the_best_is_of_a_column_or_of_a_row_and_of_one_task(entries):
    text = """<!-- table
experiment = "sine"
metric = "test_accuracy"
best = "BEST"
labels = ["data", "of"]
columns = [{title = "A", model = "A"}, {title = "B", model = "B"}]
rows = [
  {label = ["sine", "x"], dataset = "sine", task = "easy"},
  {label = ["both", ""], datasets = ["D0", "D1"], show = "mean", cells = {B = ""}},
]
-->
<!-- end of table -->"""
    by_row = made(text.replace("BEST", "row"), entries)
    assert by_row[2:4] == ["| sine | x | .500 | **.750** |", "| both | | .700 | |"]
    by_column = made(text.replace("BEST", "column"), entries)
    assert by_column[2] == "| sine | x | .500 | .750 |"
    assert by_row[4] == (
        "*sine: seeds 0 and 1; sine D0, sine D1: seed 0 alone: mean ± standard deviation.*"
    )


def test_data_that_leaks_is_marked_in_every_table(entries):
    rows = '{label = "A", model = "A", cells = {sizes = "", mse = {dataset = "D"}}}'
    rows = rows.replace('"D"', '"traffic (leaking)"')
    with pytest.raises(ValueError, match="needs to say 'leaking'"):
        fill(table(rows), entries)
    marked = rows.replace('label = "A"', 'label = "A, leaking"')
    assert made(table(marked), entries)[2] == "| A, leaking | .50 | |"


@pytest.mark.parametrize(
    "text, fragment",
    (
        (table('"Z"'), "model 'Z' and metric 'forecast_mse' need to choose one row"),
        (table('"C"'), "they choose 2 (steps: 1, 2)"),
        (table(column=', task = "hard"'), "they choose 0"),
        (table(more="digits2 = 3"), "knows no digits2"),
        (table(more='best = "cell"'), "got 'cell'"),
        (table(more='show = "all"'), "got 'all'"),
        (table(rows=""), "needs `columns` and `rows`"),
        (table('{label = ["A", "x"], model = "A"}'), "needs 1 labels"),
        (
            table('{model = "A", cells = {mae = ""}}'),
            "knows no mae; there are mse, sizes",
        ),
        (table("1"), "line 2: '<!-- table'"),
        (table("["), "line 2: '<!-- table'"),
        ("<!-- table\nx\n-->\n", "has 1 markers `<!-- table`"),
        ("<!-- figure a -->\n", "has 1 markers `<!-- figure`"),
        ('\n<!-- figure model = "A" --><!-- end of figure -->', "line 2"),
        ("<!-- figure x --><!-- figure y --><!-- end of figure -->", "as many closed"),
    ),
)
def test_a_marker_that_cannot_be_is_refused_with_its_place(text, fragment, entries):
    with pytest.raises(ValueError) as caught:
        fill(text, entries, "doc.md")
    assert "doc.md" in str(caught.value) and fragment in str(caught.value)


def test_bare_figures_are_found():
    text = """It is .5, -0.25 and 12.5 %, or 3e-4 (2.1e-14); `.1`, [x](a.5) http://b/.6
```
.7
```
jax 0.10.2, 1 000 and 16, version 3.11. <!-- by hand: .5 9.9 3.11 -->
<!-- figure x -->.3<!-- end of figure -->"""
    found = bare(text)
    assert {re.split(" is ", line)[0] for line in found} == {
        *("-0.25", "12.5", "3e-4", "2.1e-14", "0.10"),
        "9.9",
    }
    assert [line for line in found if "listed" in line] == [
        "9.9 is listed by hand and not there"
    ]
