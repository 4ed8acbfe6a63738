"""forecasts of a series -> what follows its end, by the best on validation data."""

import csv
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import _figures as figures
from ._data import Series
from ._folder import write_text
from ._run import Run
from ._windows import Linear


FILE = "forecast.csv"
# Values are written to about a ten-thousandth of what their column varies by.
DIGITS = 4


class Forecast(NamedTuple):
    """- `name`: of the model.
    - `validation`: its error.
    - `ahead`: what it says of windows.
    """

    name: str
    validation: float
    ahead: Linear


def follow(
    run: Run, series: Series, steps: tuple[int, int], found: Sequence[Forecast]
) -> dict:
    """Writes and draws what follows the end of the series, in its own units, by what has
    the least validation error; ends the run, and says where that is.
    """
    context, horizon = steps
    best = min(found, key=lambda forecast: forecast.validation)
    ends = len(series.rows) - horizon, len(series.rows)
    windows = np.stack([series.rows[end - context : end] for end in ends])
    again, future = series.centre + series.scale * best.ahead(windows)
    past = series.centre + series.scale * series.rows[-(context + horizon) :]
    write_text(run.folder / FILE, _lines(series, future))
    run.figure("forecast", figures.ahead(past, again, future, series.names))
    about = {"file": FILE, "model": best.name, "validation": best.validation}
    summary = run.finish(forecast=about)
    run.say(
        f"{run.folder / FILE} has the {horizon} steps that follow, by {best.name}: its "
        f"validation error, {best.validation:.4g}, is the least of {len(found)}."
    )
    return summary


def _lines(series: Series, values: np.ndarray) -> str:
    """Returns the file: steps, dates where they are known, and values."""
    places = [max(0, DIGITS - math.floor(math.log10(s))) for s in series.scale]
    dates = series.dates.after(len(values)) if series.dates else []
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    head = [series.dates.name] if series.dates and dates else []
    writer.writerow(["step", *head, *series.names])
    for step, row in enumerate(values.tolist()):
        cells = [f"{value:.{place}f}" for value, place in zip(row, places)]
        writer.writerow([step + 1, *dates[step : step + 1], *cells])
    return stream.getvalue()
