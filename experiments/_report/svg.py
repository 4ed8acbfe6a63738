"""curves -> SVG, with colours that the page's style gives."""

import html
import math
from collections.abc import Mapping, Sequence


WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 26, 30
COLOURS = 8
# Values so many times apart are drawn on a logarithmic scale.
LOGARITHMIC = 30.0

Points = Sequence[tuple[float, float]]


def chart(title: str, curves: Mapping[str, Points]) -> str:
    """Returns an SVG of curves `(x, y)` by name, without points that are not finite."""
    kept = {
        name: [(x, y) for x, y in points if math.isfinite(y)]
        for name, points in curves.items()
    }
    every = [point for points in kept.values() for point in points]
    if not every:
        return ""
    xs, ys = [x for x, _ in every], [y for _, y in every]
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > LOGARITHMIC
    low, high = _range([math.log10(y) if logarithmic else y for y in ys])
    first, last = _range(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        y = math.log10(y) if logarithmic else y
        across = LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        up = (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = [f'<text x="{LEFT}" y="15" class="title">{html.escape(title)}</text>']
    for tick in ticks(low, high):
        value = 10**tick if logarithmic else tick
        _, y = place(first, value)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        about = f'x="{LEFT - 6}" y="{y + 4}" text-anchor="end"'
        parts.append(f"<text {about}>{value:.3g}</text>")
    for tick in ticks(first, last):
        x, _ = place(tick, 10**low if logarithmic else low)
        about = f'x="{x}" y="{HEIGHT - 12}" text-anchor="middle"'
        parts.append(f"<text {about}>{tick:g}</text>")
    for i, (name, points) in enumerate(kept.items()):
        if points:
            line = " ".join("{},{}".format(*place(x, y)) for x, y in points)
            inside = f"<title>{html.escape(name)}</title>"
            drawn = f'<polyline class="{style(i)}" points="{line}">{inside}</polyline>'
            parts.append(drawn)
    label = html.escape(f"{title} by step, of {', '.join(kept)}", quote=True)
    frame = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"'
    return f'<svg class="chart" {frame}>{"".join(parts)}</svg>'


def legend(names: Sequence[str]) -> str:
    """Returns a list of names, each beside its line."""
    items = (
        f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="{style(i)}" '
        f'd="M0 4H24"/></svg>{html.escape(name)}</li>'
        for i, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def style(i: int) -> str:
    """Returns the classes of the curve of a number: a colour, and dashes beyond those."""
    return f"line c{i % COLOURS} d{i // COLOURS % 3}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.02 or abs(low) * 0.1 or 1.0
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Returns some four round numbers in a range."""
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]
