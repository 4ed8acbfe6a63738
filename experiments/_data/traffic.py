"""Traffic that sensors measure every five minutes: METR-LA's week and PEMS08.

METR-LA: Li et al. 2018, DCRNN, arXiv 1707.01926; the week is that of Zhao et al. 2019,
T-GCN, arXiv 1811.05320. PEMS08: Guo et al. 2019, ASTGCN, AAAI, of the data of the
California department of transportation. Neither comes with a licence; cite them.
"""

import pathlib

import numpy as np

from .arrays import finite_numbers, read_arrays
from .series import by_share, make_series, pooled, Series
from .table import read_csv


WEEK = 2016, 207
PEMS08 = 17_856, 170, 3
FLOW = 0


def load_metr_la(folder: pathlib.Path) -> Series:
    """Returns the speeds, in miles an hour, of the 2 016 steps of a week at 207 sensors in
    Los Angeles, 2012-03-01 to 07, whose gaps were filled by those who published it.

    Parts are 60:20:20 in time. One scale serves all sensors, as is usual.

    - `folder`: holds `metr_la_week.npz` with `speed`, `(2016, 207)`, or `los_speed.csv`.

    **Raises:** `ValueError` for a file that is not there, or is another one.
    """
    path = _find(
        folder,
        ("metr_la_week.npz", "los_speed.csv"),
        "Get data/los_speed.csv of https://github.com/lehaifeng/T-GCN",
    )
    if path.suffix == ".csv":
        names, speeds, _ = read_csv(path, numbered=True)
    else:
        (array,) = read_arrays(path, ("speed",))
        names, speeds = (), finite_numbers(path, "speed", array)
    if speeds.shape != WEEK:
        raise ValueError(f"`{path}` needs speeds of shape {WEEK}; got {speeds.shape}.")
    return _cut("METR-LA week", speeds, names)


def load_pems08(folder: pathlib.Path) -> Series:
    """Returns the flow, in vehicles each five minutes, of 17 856 steps at 170 sensors in
    San Bernardino, July and August 2016.

    Parts are 60:20:20 in time. One scale serves all sensors, as is usual.

    - `folder`: holds `pems08.npz` or `PEMS08.npz`, itself or in its folder `PEMS08`, with
        `data`, `(17856, 170, 3)`, whose first channel is the flow.

    **Raises:** `ValueError` for a file that is not there, or is another one.
    """
    path = _find(
        folder,
        ("pems08.npz", "PEMS08.npz", "PEMS08/pems08.npz", "PEMS08/PEMS08.npz"),
        "Get data/PEMS08/pems08.npz of https://github.com/Davidham3/ASTGCN",
    )
    (array,) = read_arrays(path, ("data",))
    if array.shape != PEMS08:
        raise ValueError(
            f"`{path}` needs data of shape {PEMS08}; got {array.shape}. Its axes are time, "
            "sensor, and flow, occupancy and speed."
        )
    return _cut("PEMS08", finite_numbers(path, "data", array[..., FLOW]))


def _cut(name: str, values: np.ndarray, names: tuple[str, ...] = ()) -> Series:
    return make_series(name, values, by_share(len(values)), names=names, scaling=pooled)


def _find(folder: pathlib.Path, files: tuple[str, ...], way: str) -> pathlib.Path:
    for file in files:
        if (path := folder / file).is_file():
            return path
    raise ValueError(
        f"`{folder / files[0]}` is missing. {way}, put it there, or give the folder that "
        "has it as `--data DIR`. No checksum of it is published, so it is not downloaded."
    )
