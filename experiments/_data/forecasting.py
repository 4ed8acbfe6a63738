"""What `--dataset` of forecasting names -> a series: a known one, or one's own file."""

import functools
import pathlib
from collections.abc import Callable, Sequence

from .arrays import finite_numbers, names_of_arrays, read_arrays
from .ett import load_ett, MD5
from .series import by_share, make_series, Scaling, Series, standard
from .table import read_csv
from .traffic import load_metr_la, load_pems08


SERIES: dict[str, Callable[[pathlib.Path], Series]] = {
    **{name: functools.partial(load_ett, name) for name in MD5},
    "METR-LA": load_metr_la,
    "PEMS08": load_pems08,
}
ENDS = ".csv", ".csv.gz", ".npz"


def load_series(
    name: str,
    folder: pathlib.Path,
    *,
    target: Sequence[str] = (),
    carry: bool = False,
    alone: bool = False,
) -> Series:
    """Returns the series of this name, or that of a file.

    **Arguments:**

    - `name`: one of `SERIES`, or the path of a `.csv`, `.csv.gz` or `.npz` file, from here
        or from `folder`.
    - `folder`: where data sets lie.
    - `target`: columns to be forecast, which come first; by default all.
    - `carry`: as of `load_file`.
    - `alone`: leaves out all other columns; those of a `.csv` file are not even read.

    **Raises:** `ValueError` for a name or file that is none of these, or a wrong file.
    """
    if name in SERIES:
        series = SERIES[name](folder)
    elif name.lower().endswith(ENDS):
        paths = pathlib.Path(name), folder / name
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise ValueError(
                f"`--dataset {name}` is no file, here or in {folder}. Give its whole path."
            )
        series = load_file(path, carry=carry, only=target if alone else ())
    else:
        raise ValueError(
            f"`--dataset {name}` needs one of {', '.join(SERIES)}, or a file that ends in "
            f"{', '.join(ENDS)}."
        )
    series = series.toward(*target) if target else series
    return series.alone() if alone else series


def load_file(
    path: pathlib.Path,
    *,
    carry: bool = False,
    scaling: Scaling = standard,
    only: Sequence[str] = (),
) -> Series:
    """Returns the series in one's own file, cut 60:20:20 in time.

    **Arguments:**

    - `path`: of a file that `read_csv` reads; or of an `.npz` with one array, or one named
        `data`, `(rows,)` or `(rows, channels)`, whose channels have their numbers as names.
    - `carry`, `only`: as of `read_csv`; an `.npz` may miss nothing, and all of it is read.
    - `scaling`: by the training rows.

    **Raises:** `ValueError` for a file that is malformed, too short, or has a channel that
    is constant over the training rows.
    """
    if path.suffix.lower() == ".npz":
        names, values, dates = *_from_npz(path), None
    else:
        names, values, dates = read_csv(path, carry=carry, only=only)
    stops = by_share(len(values))
    series = make_series(str(path), values, stops, names=names, scaling=scaling)
    return series._replace(dates=dates)


def _from_npz(path: pathlib.Path):
    keys = names_of_arrays(path)
    key = "data" if "data" in keys else keys[0] if len(keys) == 1 else None
    if key is None:
        raise ValueError(
            f"`{path}` needs one array, or one named data; got {keys[:10]}. Save it with "
            "`numpy.savez(path, data=values)`."
        )
    (array,) = read_arrays(path, (key,))
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"`{path}` needs {key} of shape (rows,) or (rows, channels); got "
            f"{array.shape}. Lay further axes out as channels."
        )
    return (), finite_numbers(path, key, array.reshape(len(array), -1))
