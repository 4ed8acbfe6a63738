"""what pictures for the documentation share: colours, a frame, and the figures in it."""

import html
from collections.abc import Sequence

from .cells import Cell


# In light and in dark.
COLOURS = (
    ("#78909c", "#90a4ae"),
    ("#00897b", "#4db6ac"),
    ("#e07b39", "#f0a26b"),
    ("#5e60ce", "#9a9cf0"),
    ("#c2185b", "#f06292"),
    ("#8d6e63", "#bcaaa4"),
)
# A picture brings its own background, so that it can be read on a page of any colour.
STYLE = """
.back { fill: #fff } text { fill: #1f2a30; font: 13px system-ui, sans-serif }
.title { font-size: 15px; font-weight: 600 } .grid { stroke: #dde3e6 }
.tick { fill: #5b6a72; font-size: 11px } LIGHT
@media (prefers-color-scheme: dark) {
.back { fill: #1a1f24 } text { fill: #e6ecef } .grid { stroke: #39434a }
.tick { fill: #a7b4bb } DARK
}"""


def shown(cells: Sequence[Cell | str], what: str) -> list[Cell]:
    """Returns the cells of a row of a picture, all of which have a figure.

    **Raises:** `ValueError` for text in the place of one, which names `what` needs it.
    """
    if texts := [cell for cell in cells if isinstance(cell, str)]:
        raise ValueError(f"{what} needs a figure; got {texts[0]!r}")
    return [cell for cell in cells if isinstance(cell, Cell)]


def framed(
    width: int,
    height: int,
    title: str,
    words: str,
    parts: Sequence[str],
    *,
    colours: int,
    drawn: str = "fill",
) -> str:
    """Returns an SVG of some parts, with a background and a title.

    - `words`: what it shows, for those who hear it.
    - `colours`: how many classes `c0`, `c1`, ... there are; `drawn` is what each colours.
    """
    light, dark = (
        " ".join(
            f".c{i} {{ {drawn}: {pair[k]} }}"
            for i, pair in enumerate(COLOURS[:colours])
        )
        for k in (0, 1)
    )
    style = STYLE.replace("LIGHT", light).replace("DARK", dark)
    label = html.escape(words, quote=True)
    frame = f'viewBox="0 0 {width} {height}" role="img" aria-label="{label}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>\n<style>{style}\n</style>',
            f'<rect class="back" width="{width}" height="{height}" rx="12"/>',
            f'<text class="title" x="16" y="26">{html.escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
