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


WIDTH, LEFT, RIGHT = 760, 290, 70
BAR, GAP, TOP, BOTTOM = 13, 12, 74, 14
COLOURS = (("#78909c", "#90a4ae"), ("#00897b", "#4db6ac"), ("#e07b39", "#f0a26b"))
# A picture brings its own background, so that it can be read on a page of any colour.
STYLE = """
.back { fill: #fff } text { fill: #1f2a30; font: 13px system-ui, sans-serif }
.title { font-size: 15px; font-weight: 600 } .grid { stroke: #dde3e6 }
.tick { fill: #5b6a72; font-size: 11px } LIGHT
@media (prefers-color-scheme: dark) {
.back { fill: #1a1f24 } text { fill: #e6ecef } .grid { stroke: #39434a }
.tick { fill: #a7b4bb } DARK
}"""


def bars(keys: dict[str, Any], entries: Sequence[Entry]) -> str:
    """Returns the SVG that some keys describe.

    **Raises:** `ValueError` for keys that cannot be, figures that are not above zero or
    leak unmarked, and more columns than there are colours.
    """
    keys = dict(keys)
    title = keys.pop("title", "")
    table = Table.of(keys)
    if len(table.columns) > len(COLOURS) or len(table.labels) > 1:
        raise ValueError(
            f"a picture has one label and at most {len(COLOURS)} columns; got "
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
    parts = [
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="12"/>',
        f'<text class="title" x="16" y="26">{html.escape(title)}</text>',
    ]
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
    words = html.escape(f"{title}, {names}. {told}", quote=True)
    frame = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{words}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>\n<style>{_style()}\n</style>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _figures(
    cells: Sequence[Cell | str], entries: Sequence[Entry]
) -> list[tuple[float, str]]:
    """Returns each cell's figure, and how it is written."""
    if texts := [cell for cell in cells if isinstance(cell, str)]:
        raise ValueError(f"a bar needs a figure; got {texts[0]!r}")
    asked = [cell for cell in cells if isinstance(cell, Cell)]
    return [(cell.sample(entries).mean, cell.text(entries)) for cell in asked]


def _log(value: float) -> float:
    if not value > 0 or not math.isfinite(value):
        raise ValueError(f"a bar needs a figure above zero; got {value}")
    return math.log10(value)


def _style() -> str:
    light, dark = (
        " ".join(f".c{i} {{ fill: {pair[k]} }}" for i, pair in enumerate(COLOURS))
        for k in (0, 1)
    )
    return STYLE.replace("LIGHT", light).replace("DARK", dark)
