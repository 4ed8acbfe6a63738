"""records, entries -> one self-contained page, and the same tables in Markdown."""

import base64
import html
import json
import math
import pathlib
import string
from collections.abc import Iterable, Sequence

import numpy as np

from . import figures, svg
from .entries import better, Entry, Sample, shown_together
from .records import Record, Weights


FOLDER = pathlib.Path(__file__).parent
DIGITS = 3
# What stands beside the metrics: by its title, the name of the figure.
BESIDE = {"state size": "state_size", "parameters": "parameters", "steps": "steps"}
BESIDE |= {"seconds": "seconds", "learning rate": "learning_rate"}

escape = html.escape


def page(records: Sequence[Record], entries: Sequence[Entry]) -> str:
    """Returns the page: all is in it, so it works from a file and without network."""
    parts = list(_parts(records, entries))
    links = (
        f'<li><a href="#{_slug(name)}">{escape(name)}</a></li>' for name, *_ in parts
    )
    count = len(records)
    return string.Template(_read("page.html")).substitute(
        title=f"Results of {count} run{'s' * (count != 1)}",
        style=_read("page.css"),
        script=_read("page.js"),
        links="".join(links),
        body="\n".join(_section(*part) for part in parts),
    )


def markdown(records: Sequence[Record], entries: Sequence[Entry]) -> str:
    """Returns the tables of the page in Markdown."""
    lines = []
    for name, runs, rows in _parts(records, entries):
        lines += [f"## {name}", ""]
        for table in shown_together(rows):
            titles, cells = _table(table)
            lines.append(f"| {' | '.join(titles)} |")
            lines.append("|---" * len(titles) + "|")
            for row in cells:
                texts = [text.replace("|", "\\|") for text, *_ in row]
                bold = [f"**{t}**" if c[3] else t for t, c in zip(texts, row)]
                lines.append(f"| {' | '.join(bold)} |")
            lines.append("")
        if lost := _diverged(runs):
            lines += [lost, ""]
    return "\n".join(lines)


def _parts(records: Sequence[Record], entries: Sequence[Entry]):
    """Yields the name of each experiment, data set and preset, its runs and its rows."""

    def about(one: Record | Entry) -> tuple[str, str, str]:
        return one.experiment, one.dataset, one.preset

    for key in dict.fromkeys(map(about, records)):
        experiment, dataset, preset = key
        names = [experiment] if dataset == experiment else [experiment, dataset]
        runs = [record for record in records if about(record) == key]
        rows = [entry for entry in entries if about(entry) == key]
        yield ", ".join([*names, f"preset {preset}"]), runs, rows


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").rstrip("\n")


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


# One cell: its text, what is below it, what it sorts by, and whether it is the best.
Text = tuple[str, str, str, bool]


def _table(rows: Sequence[Entry]) -> tuple[list[str], list[list[Text]]]:
    """Returns the titles and the cells of a table."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    beside = {t: k for t, k in BESIDE.items() if any(row.sample(k) for row in rows)}
    tasks = any(row.task for row in rows)
    titles = [*(["task"] if tasks else []), "model", *metrics, *beside, "seeds"]
    top = {name: _best(rows, name) for name in metrics}
    cells = []
    for i, row in enumerate(rows):
        line: list[Text] = [(row.task, "", row.task, False)] if tasks else []
        line.append((row.model, "", row.model, False))
        line += [_figure(row.metrics.get(name), i in top[name]) for name in metrics]
        line += [_beside(row, name) for name in beside.values()]
        count = str(len(row.seeds))
        line.append((count, "", count, False))
        cells.append(line)
    return titles, cells


def _best(rows: Sequence[Entry], name: str) -> set[int]:
    """Returns the rows with the best mean in their task."""
    ranks: dict[str, dict[int, float]] = {}
    for i, row in enumerate(rows):
        sample = row.metrics.get(name)
        if sample is not None and better(name) and math.isfinite(sample.mean):
            ranks.setdefault(row.task, {})[i] = better(name) * sample.mean
    several = [task for task in ranks.values() if len(task) > 1]
    return {i for task in several for i, r in task.items() if r == max(task.values())}


def _figure(sample: Sample | None, best: bool) -> Text:
    if sample is None:
        return "", "", "", False
    below = f"median {figures.number(sample.median, DIGITS)}" if sample.varies else ""
    value = repr(sample.mean) if math.isfinite(sample.mean) else ""
    return figures.mean(sample, DIGITS), below, value, best


def _beside(row: Entry, name: str) -> Text:
    sample = row.sample(name)
    if sample is None or not sample.mean:
        return "", "", "", False
    if name == "learning_rate":
        rates = ", ".join(f"{rate:g}" for rate in sorted(set(sample.values)))
        return rates, "", repr(sample.mean), False
    return figures.integer(sample.mean), "", repr(sample.mean), False


def _section(name: str, runs: Sequence[Record], rows: Sequence[Entry]) -> str:
    found = sorted({run.seed for run in runs})
    seeds = f"Seed{'s' * (len(found) > 1)} {', '.join(map(str, found))}"
    return "\n".join(
        [
            f'<section aria-labelledby="{_slug(name)}">',
            f'<h2 id="{_slug(name)}">{escape(name)}</h2>',
            f'<p class="faint">{seeds}. Mean ± standard deviation, and below it the '
            "median; the best of a task is bold. A heading sorts.</p>",
            *(_html_table(name, table) for table in shown_together(rows)),
            *(f"<p>{escape(lost)}</p>" for lost in filter(None, [_diverged(runs)])),
            *(_run(run) for run in runs),
            "</section>",
        ]
    )


def _diverged(runs: Sequence[Record]) -> str:
    """Returns a line on the models that diverged at every rate; empty where none did."""
    lost: dict[str, list[str]] = {}
    for run in runs:
        for row in run.results:
            if "diverged" in row:
                lost.setdefault(row["model"], []).append(str(run.seed))
    said = (f"{name} (seed {', '.join(seeds)})" for name, seeds in lost.items())
    return f"Diverged at every rate: {'; '.join(said)}." if lost else ""


def _html_table(name: str, rows: Sequence[Entry]) -> str:
    titles, cells = _table(rows)
    texts = titles.index("model")
    heads = (
        f'<th scope="col"{_left(i <= texts)}><button type="button">{_broken(title)}'
        "</button></th>"
        for i, title in enumerate(titles)
    )
    lines = []
    for row in cells:
        line = []
        for i, (text, below, value, best) in enumerate(row):
            kind = 'th scope="row"' if i == texts else "td"
            shown = f"<strong>{escape(text)}</strong>" if best else escape(text)
            small = f"<small>{escape(below)}</small>" if below else ""
            about = f'{_left(i <= texts)} data-value="{escape(value)}"'
            line.append(f"<{kind}{about}>{shown}{small}</{kind[:2]}>")
        lines.append(f"<tr>{''.join(line)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table><caption>{escape(name)}</caption>"
        f"<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>"
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _broken(title: str) -> str:
    """Returns a title that may break after an underscore."""
    return escape(title).replace("_", "_<wbr>")


def _left(text: bool) -> str:
    return ' class="text"' if text else ""


def _run(run: Record) -> str:
    name = f"{run.experiment}, seed {run.seed}"
    parts = []
    if run.curves:
        drawn = (
            svg.chart(title, {m: _points(p, kind) for m, p in run.curves.items()})
            for title, kind in (("training loss", "loss"), ("validation", "validation"))
        )
        parts.append(f"<h3>Learning curves: {escape(name)}</h3>")
        parts.append(f'<div class="charts">{"".join(drawn)}</div>')
        parts.append(svg.legend(list(run.curves)))
    if run.weights is not None:
        parts.append(f"<h3>Weights as a sequence passes: {escape(name)}</h3>")
        parts.append(_weights(run.weights))
    if run.figures:
        parts.append(f"<h3>Figures: {escape(name)}</h3>")
        parts.append(f'<div class="gallery">{"".join(map(_image, run.figures))}</div>')
    about = {"run": run.path.name, "versions": run.versions, "config": run.config}
    shown = {key: value for key, value in about.items() if value}
    parts.append(
        f"<details><summary>Configuration and versions: {escape(name)}</summary>"
        f"<pre>{escape(json.dumps(shown, indent=2, ensure_ascii=False))}</pre></details>"
    )
    return "\n".join(parts)


def _points(lines: Iterable[dict], kind: str) -> list[tuple[float, float]]:
    return [(line["step"], line[kind]) for line in lines]


def _image(path: pathlib.Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    name = escape(path.stem.replace("_", " "))
    return (
        f'<figure><img alt="{name}" loading="lazy" src="data:image/png;base64,{data}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _weights(weights: Weights) -> str:
    """Returns the view of the weights: a slider over time, and per layer the weights and
    their change since the first frame.
    """
    layers, shown = [], []
    for i, (name, array) in enumerate(weights.layers.items()):
        flat = array.reshape(*array.shape[:2], *_plane(array.shape[2:]))
        rows, columns = flat.shape[2:]
        change = flat - flat[:, :1]
        bytes_of = {"weights": _quantised(flat), "change": _quantised(change)}
        layers.append({"rows": rows, "columns": columns, **bytes_of})
        size = f'width="{columns}" height="{rows}" role="img" data-layer="{i}"'
        about = (
            ("weights", "weights", np.abs(flat).max()),
            ("change", "change since the start", np.abs(change).max()),
        )
        drawn = (
            f'<canvas {size} data-kind="{kind}" aria-label="{escape(name)}: {text}">'
            f"</canvas><small>{text}, up to ±{figures.number(float(most), 2)}</small>"
            for kind, text, most in about
        )
        shape = " × ".join(map(str, array.shape[2:]))
        head = f"<strong>{escape(name)}</strong> <small>{shape}</small>"
        shown.append(f"<div>{head}{''.join(drawn)}</div>")
    times = [float(f"{time:.3g}") for time in weights.times]
    last = len(times) - 1
    # Numbers and base64 alone: nothing in it can end the script.
    data = json.dumps({"times": times, "layers": layers})
    options = "".join(
        f'<option value="{i}">{escape(label)}</option>'
        for i, label in enumerate(weights.labels)
    )
    return (
        '<div class="weights"><div class="controls">'
        f"<label>Sequence <select>{options}</select></label>"
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="Time">'
        f'<output>t</output></div><div class="layers">{"".join(shown)}</div>'
        "<p class='faint'>Blue is below zero and red above; each picture has a scale of "
        "its own, the same for all times.</p>"
        f'<script type="application/json">{data}</script></div>'
    )


def _plane(shape: Sequence[int]) -> tuple[int, int]:
    """Returns the rows and columns that an array is drawn as: a vector is one row."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def _quantised(array: np.ndarray) -> str:
    """Returns numbers as base64 of bytes from -127 to 127."""
    scaled = np.rint(array * (127 / max(np.abs(array).max(), 1e-30)))
    return base64.b64encode(scaled.astype(np.int8).tobytes()).decode()
