"""One long series -> windows: a context, and the horizon to forecast from it.

Three parts in order of time, scaled by what the first one says alone. A window of a later
part may look back over the border, by its context: that past was known by then.
"""

from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

from .dataset import Dataset, Split, unlabelled
from .dates import Dates


LEAKING = "leaking"
Unit = tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]
Scaling = Callable[[Float[np.ndarray, "t d"]], Unit]


def standard(rows: Float[np.ndarray, "t d"]) -> Unit:
    """Returns what makes mean 0 and deviation 1 of each channel: the literature's."""
    return rows.mean(0), rows.std(0)


def pooled(rows: Float[np.ndarray, "t d"]) -> Unit:
    """Returns what makes mean 0 and deviation 1 of all channels together: of sensors of one
    kind, even where one of them stands still.
    """
    channels = rows.shape[1]
    return np.full(channels, rows.mean()), np.full(channels, rows.std())


def min_max(rows: Float[np.ndarray, "t d"]) -> Unit:
    """Returns what brings each channel to [-1, 1]: the paper's."""
    low, high = rows.min(0), rows.max(0)
    return low / 2 + high / 2, high / 2 - low / 2


class Series(NamedTuple):
    """- `name`: of the data set.
    - `rows`: all values in order of time, scaled, `(rows, channels)`, in single precision.
    - `stops`: how many rows end the training part and the validation part; the rest is for
        the test.
    - `names`: of the channels.
    - `scale`, `centre`: what a difference of one and what a zero mean in each channel, in
        the units before scaling, `(channels,)`.
    - `targets`: how many channels, the first ones, are to be forecast; the others are seen
        in the context alone.
    - `dates`: of the rows, where they are known.
    """

    name: str
    rows: Float[np.ndarray, "t d"]
    stops: tuple[int, int]
    names: tuple[str, ...]
    scale: Float[np.ndarray, " d"]
    centre: Float[np.ndarray, " d"]
    targets: int
    dates: Dates | None = None

    @property
    def train(self) -> Float[np.ndarray, "t d"]:
        return self.rows[: self.stops[0]]

    @property
    def validation(self) -> Float[np.ndarray, "t d"]:
        return self.rows[slice(*self.stops)]

    @property
    def test(self) -> Float[np.ndarray, "t d"]:
        return self.rows[self.stops[1] :]

    def windows(self, context: int, horizon: int) -> Dataset:
        """Returns every window of `context + horizon` rows as a sequence, one beginning at
        each row; its horizon lies in the part that it belongs to. They are views of the
        rows, which take no memory: `Gathered` makes batches of them.

        **Raises:** `ValueError` for a part with too few rows for one window.
        """
        for given, value in (("context", context), ("horizon", horizon)):
            if value < 1:
                self._refuse(context, horizon, f"`{given}` of at least 1; got {value}")
        if self.stops[0] < context + horizon:
            self._too_few(context, horizon, "training", context + horizon)
        for part in ("validation", "test"):
            if len(getattr(self, part)) < horizon:
                self._too_few(context, horizon, part, horizon)
        starts = 0, self.stops[0] - context, self.stops[1] - context
        parts = [
            _views(self.rows[start:stop], context, horizon)
            for start, stop in zip(starts, (*self.stops, len(self.rows)))
        ]
        return Dataset(self.name, *parts, scale=self.scale, centre=self.centre)

    def leaking_windows(self, context: int, horizon: int) -> Dataset:
        """Returns the same windows with all of each given to the model, the horizon that it
        is then scored on included, as the traffic data of the paper's released code does.

        No figure of this is a forecast, and the name of the data set says so. Only for
        comparison with figures that may have come about so.
        """
        data = self.windows(context, horizon)
        parts = {
            name: part._replace(context=np.full(len(part.xs), context + horizon))
            for name, part in data.named.items()
        }
        return data._replace(name=f"{self.name} ({LEAKING})", **parts)

    def toward(self, *targets: str) -> "Series":
        """Returns the series with these channels first, as what is to be forecast.

        **Raises:** `ValueError` for a channel that is not there, or is asked for twice.
        """
        if unknown := [name for name in targets if name not in self.names]:
            raise ValueError(
                f"`{self.name}` needs a target among its columns "
                f"({_listed(self.names)}); got {', '.join(map(repr, unknown))}."
            )
        if not targets or len(set(targets)) < len(targets):
            raise ValueError(
                f"`{self.name}` needs one or more different targets; got {targets}."
            )
        rest = [name for name in self.names if name not in targets]
        order = [self.names.index(name) for name in (*targets, *rest)]
        return self._replace(
            rows=self.rows[:, order],
            names=tuple(self.names[i] for i in order),
            scale=self.scale[order],
            centre=self.centre[order],
            targets=len(targets),
        )

    def alone(self) -> "Series":
        """Returns the series without the channels that are not to be forecast."""
        kept = slice(self.targets)
        return self._replace(
            rows=self.rows[:, kept],
            names=self.names[kept],
            scale=self.scale[kept],
            centre=self.centre[kept],
        )

    def _too_few(self, context: int, horizon: int, part: str, least: int) -> NoReturn:
        counts = np.diff([0, *self.stops, len(self.rows)])
        parts: dict[str, int] = dict(
            zip(("training", "validation", "test"), counts.tolist())
        )
        self._refuse(
            context,
            horizon,
            f"{least} rows for {part}; got {parts[part]} of {len(self.rows)}, of which "
            f"{', '.join(f'{count} are for {p}' for p, count in parts.items())}. A file "
            "is cut 60:20:20, so it has to have at least "
            f"{least_rows(context, horizon)} rows",
        )

    def _refuse(self, context: int, horizon: int, wanted: str) -> NoReturn:
        raise ValueError(
            f"`{self.name}` with context={context} and horizon={horizon} needs {wanted}. "
            "Give a longer series, or a shorter context or horizon."
        )


def make_series(
    name: str,
    values: Float[np.ndarray, "t d"],
    stops: tuple[int, int],
    *,
    names: tuple[str, ...] = (),
    scaling: Scaling = standard,
) -> Series:
    """Returns a series whose scale the training part sets alone.

    - `name`: of the data set, or its file: errors quote it.
    - `values`: finite numbers, `(rows, channels)`, in order of time.
    - `stops`: as of `Series`.
    - `names`: of the channels; by default their numbers from 0.

    **Raises:** `ValueError` for parts without rows, and for channels that are constant in
    the training part or too large to be scaled.
    """
    names = names or tuple(map(str, range(values.shape[1])))
    if not 0 < stops[0] < stops[1] < len(values):
        raise ValueError(
            f"`{name}` needs rows for training, validation and test; got {len(values)} "
            f"rows, cut after {stops[0]} and {stops[1]}. Give a longer series."
        )
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        centre, scale = scaling(values[: stops[0]])
        rows = ((values - centre) / scale).astype(np.float32)
    # Less than what rounding leaves of numbers that are all equal.
    still = ~(scale > 1e-12 * np.abs(centre)) & np.isfinite(scale)
    if np.any(still):
        raise ValueError(
            f"`{name}` needs channels that vary over the {stops[0]} rows for training; got "
            f"constant ones: {_listed(_chosen(names, still))}. Leave them out, as "
            "`--target` does with columns that it does not name."
        )
    wild = ~(np.all(np.isfinite(rows), axis=0) & np.isfinite(scale))
    if np.any(wild):
        raise ValueError(
            f"`{name}` needs numbers that single precision can hold once scaled; got "
            f"others in {_listed(_chosen(names, wild))}. Look for broken values there."
        )
    return Series(name, rows, stops, names, scale, centre, len(names))


def by_share(rows: int) -> tuple[int, int]:
    """Returns where to cut rows 60:20:20, rounded down for training and validation, as is
    usual for traffic.
    """
    train, validation = rows * 6 // 10, rows * 2 // 10
    return train, train + validation


def least_rows(context: int, horizon: int) -> int:
    """Returns how many rows `by_share` has to be given for a window in every part."""
    return max(-(-10 * (context + horizon) // 6), 5 * horizon)


def _views(rows: Float[np.ndarray, "t d"], context: int, horizon: int) -> Split:
    views = sliding_window_view(rows, context + horizon, axis=0)
    return unlabelled(views.transpose(0, 2, 1), np.full(len(views), context))


def _chosen(names: tuple[str, ...], which: np.ndarray) -> list[str]:
    return [name for name, chosen in zip(names, which) if chosen]


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
