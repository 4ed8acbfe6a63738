"""ETT: load and oil temperature of electricity transformers, by the hour or quarter of one.

Zhou et al. 2021, Informer, arXiv 2012.07436; https://github.com/zhouhaoyi/ETDataset.
Licence CC BY-ND 4.0: the files stay as they are, and windows are cut in memory.
"""

import pathlib

from .download import Fetcher
from .series import make_series, Scaling, Series, standard
from .table import read_csv


URL = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"
MD5 = {
    "ETTh1": "8381763947c85f4be6ac456c508460d6",
    "ETTh2": "51a229a3fc13579dd939364fefe9c7ab",
    "ETTm1": "82d6bd89109c63d075d99c1077b33f38",
    "ETTm2": "7687e47825335860bf58bccb31be0c56",
}
COLUMNS = "HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"
# 12, 4 and 4 months of 30 days.
HOURS = 8640, 2880, 2880
PER_HOUR = {"ETTh1": 1, "ETTh2": 1, "ETTm1": 4, "ETTm2": 4}


def load_ett(name: str, folder: pathlib.Path, scaling: Scaling = standard) -> Series:
    """Returns one of the four series, 7 channels cut after 12, 16 and 20 months of 30 days,
    as Informer and all that compare with it do: 8 640, 2 880 and 2 880 rows of the hourly
    ones, four times as many of the others. What follows is not used.

    **Arguments:**

    - `name`: `ETTh1`, `ETTh2`, `ETTm1` or `ETTm2`.
    - `folder`: holds `NAME.csv` or `NAME.csv.gz`, itself or in its folder `ETT-small`.
        Where it does not, the file is downloaded to `ETT-small`.
    - `scaling`: by the training rows; `standard` as in the literature, or `min_max` as in
        the paper.

    **Raises:** `ValueError` for a file that cannot be had, or is another one.
    """
    if name not in MD5:
        raise ValueError(f"`load_ett({name!r})` needs one of {', '.join(MD5)}.")
    path = _find(name, folder) or _download(name, folder)
    table = read_csv(path)
    train, validation, test = (PER_HOUR[name] * count for count in HOURS)
    used = train + validation + test
    if table.names != COLUMNS or len(table.values) < used:
        raise ValueError(
            f"`{path}` needs the columns {', '.join(COLUMNS)} and at least {used} rows; "
            f"got {', '.join(table.names[:10])} and {len(table.values)}. Get it from {URL}."
        )
    return make_series(
        name,
        table.values[:used],
        (train, train + validation),
        names=COLUMNS,
        scaling=scaling,
    )


def _find(name: str, folder: pathlib.Path) -> pathlib.Path | None:
    places = (folder, folder / "ETT-small")
    paths = (place / f"{name}{end}" for place in places for end in (".csv", ".csv.gz"))
    return next((path for path in paths if path.is_file()), None)


def _download(name: str, folder: pathlib.Path) -> pathlib.Path:
    file, target = f"{name}.csv", folder / "ETT-small"
    try:
        return Fetcher(target, URL, {file: f"md5:{MD5[name]}"}).fetch(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`{file}` is not in {folder}, and {URL}{file} cannot be used: {error}. Put "
            "the file there by hand, or give the folder that has it as `--data DIR`."
        ) from error
