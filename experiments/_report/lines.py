"""keys, entries -> an SVG of lines on a linear scale from zero, which needs no other file.

The keys are those of a table (`fill`), `kind = "lines"`, a `title`, and `across`, what is
along the horizontal axis. Every row is a line, and every column a place on it, `at` a
number. A line goes through the means, with a bar from the least to the most of all seeds.
"""

import html
from collections.abc import Sequence
from typing import Any

from .cells import Table
from .entries import Entry, Sample
from .picture import COLOURS, framed, shown
from .svg import ticks


WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 74, 52


def lines(keys: dict[str, Any], entries: Sequence[Entry]) -> str:
    """Returns the SVG that some keys describe.

    **Raises:** `ValueError` for keys that cannot be, figures below zero, columns without a
    place of their own, and more rows than there are colours.
    """
    keys = dict(keys)
    title, across = keys.pop("title", ""), keys.pop("across", "")
    columns = [dict(column) for column in keys.get("columns", ())]
    places = [column.pop("at", None) for column in columns]
    if None in places or len(set(places)) < max(2, len(places)):
        raise ValueError(f"columns need different numbers as `at`; got {places}")
    table = Table.of(keys | {"columns": columns})
    if len(table.rows) > len(COLOURS) or len(table.labels) > 1:
        raise ValueError(
            f"a picture has one label and at most {len(COLOURS)} rows; got "
            f"{len(table.labels)} and {len(table.rows)}"
        )
    rows = []
    for row, cells in zip(table.rows, table.grid(entries)):
        asked = shown(cells, "a line")
        samples = [cell.sample(entries) for cell in asked]
        said = [cell.text(entries) for cell in asked]
        rows.append((row.get("label", row.get("model", "")), samples, said))
    samples = [sample for _, of_row, _ in rows for sample in of_row]
    if not min(sample.least for sample in samples) >= 0:
        raise ValueError("a line needs figures of zero or more")
    high = max(sample.most for sample in samples) * 1.04 or 1.0
    first, last = min(places), max(places)

    def place(x: float, y: float) -> tuple[float, float]:
        along = LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        up = y / high * (HEIGHT - TOP - BOTTOM)
        return round(along, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = []
    for tick in ticks(0, high):
        _, y = place(first, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        about = f'class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end"'
        parts.append(f"<text {about}>{tick:g}</text>")
    for column, at in zip(columns, places):
        x, y = place(at, 0)
        about = f'class="tick" x="{x}" y="{y + 18}" text-anchor="middle"'
        parts.append(f"<text {about}>{html.escape(str(column['title']))}</text>")
    middle = (LEFT + WIDTH - RIGHT) / 2
    about = f'class="tick" x="{middle}" y="{HEIGHT - 14}" text-anchor="middle"'
    parts.append(f"<text {about}>{html.escape(across)}</text>")
    beside = 16
    for i, (label, of_row, _) in enumerate(rows):
        parts.append(_line(i, [place(x, s.mean) for x, s in zip(places, of_row)]))
        parts += [_bar(i, place, x, s) for x, s in zip(places, of_row) if s.varies]
        parts.append(_line(i, [(beside, TOP - 27), (beside + 18, TOP - 27)]))
        about = f'class="tick" x="{beside + 24}" y="{TOP - 23}"'
        parts.append(f"<text {about}>{html.escape(label)}</text>")
        beside += 44 + 7 * len(label)
    told = "; ".join(f"{label}: {', '.join(said)}" for label, _, said in rows)
    along = ", ".join(str(column["title"]) for column in columns)
    words = f"{title}, by {across}: {along}. {told}"
    return framed(WIDTH, HEIGHT, title, words, parts, colours=len(rows), drawn="stroke")


def _line(i: int, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="c{i}" fill="none" stroke-width="2" points="{path}"/>'


def _bar(i: int, place, x: float, sample: Sample) -> str:
    (along, low), (_, high) = place(x, sample.least), place(x, sample.most)
    return f'<path class="c{i}" stroke-width="4" d="M{along} {low}V{high}"/>'
