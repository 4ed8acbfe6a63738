"""keys, entries -> an SVG of bars on a logarithmic scale, which needs no other file.

The keys are those of a table (`fill`), and a `title`. Every row is a group of bars, one for
each column, as long as the cell's figure is large.
"""

import html
import math
from collections.abc import Sequence
from typing import Any

from .cells import Cell, Table
from .entries import Entry
from .picture import framed, shown


WIDTH, LEFT, RIGHT = 760, 290, 70
BAR, GAP, TOP, BOTTOM = 13, 12, 74, 14
# Columns that can be told apart.
MOST = 3


def bars(keys: dict[str, Any], entries: Sequence[Entry]) -> str:
    """Returns the SVG that some keys describe.

    **Raises:** `ValueError` for keys that cannot be, figures that are not above zero or
    leak unmarked, and more columns than there are colours.
    """
    keys = dict(keys)
    title = keys.pop("title", "")
    table = Table.of(keys)
    if len(table.columns) > MOST or len(table.labels) > 1:
        raise ValueError(
            f"a picture has one label and at most {MOST} columns; got "
            f"{len(table.labels)} and {len(table.columns)}"
        )
    rows = [
        (row.get("label", row.get("model", "")), _figures(cells, entries))
        for row, cells in zip(table.rows, table.grid(entries))
    ]
    values = [value for _, figures in rows for value, _ in figures]
    low, high = math.floor(_log(min(values))), math.ceil(_log(max(values)))
    across = (WIDTH - LEFT - RIGHT) / max(high - low, 1)
    group = BAR * len(table.columns) + GAP
    height = TOP + group * len(rows) + BOTTOM
    parts = []
    for power in range(low, high + 1):
        x = LEFT + (power - low) * across
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP - 6}V{height - BOTTOM}"/>')
        about = f'class="tick" x="{x:.1f}" y="{TOP - 11}" text-anchor="middle"'
        parts.append(f"<text {about}>{10.0**power:,g}</text>".replace(",", " "))
    at = 16
    for i, column in enumerate(table.columns):
        name = html.escape(column["title"])
        parts.append(
            f'<rect class="c{i}" x="{at}" y="{TOP - 32}" width="11" height="11"/>'
        )
        parts.append(f'<text class="tick" x="{at + 16}" y="{TOP - 22}">{name}</text>')
        at += 34 + 7 * len(column["title"])
    for i, (label, figures) in enumerate(rows):
        y = TOP + i * group
        middle = y + BAR * len(figures) / 2 + 4.5
        about = f'x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end"'
        parts.append(f"<text {about}>{html.escape(label)}</text>")
        for j, (value, said) in enumerate(figures):
            long = (_log(value) - low) * across
            place = f'x="{LEFT}" y="{y + BAR * j}" height="{BAR - 2}"'
            parts.append(f'<rect class="c{j}" {place} width="{long:.1f}"/>')
            about = f'class="tick" x="{LEFT + long + 5:.1f}" y="{y + BAR * j + 9.5}"'
            parts.append(f"<text {about}>{said}</text>")
    told = "; ".join(
        f"{label}: " + ", ".join(said for _, said in figures) for label, figures in rows
    )
    names = " and ".join(column["title"] for column in table.columns)
    words = f"{title}, {names}. {told}"
    return framed(WIDTH, height, title, words, parts, colours=MOST)


def _figures(
    cells: Sequence[Cell | str], entries: Sequence[Entry]
) -> list[tuple[float, str]]:
    """Returns each cell's figure, and how it is written."""
    asked = shown(cells, "a bar")
    return [(cell.sample(entries).mean, cell.text(entries)) for cell in asked]


def _log(value: float) -> float:
    if not value > 0 or not math.isfinite(value):
        raise ValueError(f"a bar needs a figure above zero; got {value}")
    return math.log10(value)
