"""What an earlier run chose -> the same trainings on more data, with nothing to choose."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from ._report import read
from ._trial import Trial


def rows(
    path: pathlib.Path, experiment: str, dataset: str, preset: str, seed: int
) -> dict[str, dict[str, Any]]:
    """Returns what the run at `path` has of each model, by its name, but for those that
    diverged.

    - `path`: a run folder, or a copy of the summary in it.
    - `experiment`, `dataset`, `preset`, `seed`: what it has to be a run of.

    **Raises:** `ValueError` where it is none, is more than one, or is of something else.
    """
    records = read([path], "--refit")
    if len(records) > 1:
        raise ValueError(
            f"`--refit {path}` needs one run; got a folder of {len(records)}. Give one of "
            "them."
        )
    (record,) = records
    want = {
        "experiment": experiment,
        "dataset": dataset,
        "preset": preset,
        "seed": seed,
    }
    for name, value in want.items():
        if (found := getattr(record, name)) != value:
            raise ValueError(
                f"`--refit {path}` is a run with {name} {found}, not {value}. Ask for the "
                "same as there, or give another run."
            )
    return {row["model"]: row for row in record.results if "diverged" not in row}


def refitted(trials: Sequence[Trial], row: dict[str, Any]) -> Trial:
    """Returns the one of `trials` that validation data chose, without validation: the model
    of its last step is tested. Its result keeps what the choice was made by.

    - `row`: of the run that chose.

    **Raises:** `ValueError` where no trial is that one.
    """
    chosen = [trial for trial in trials if trial.name == row.get("trial")]
    if len(chosen) != 1:
        raise ValueError(
            f"`--refit` cannot train {row['model']!r} again: its run chose "
            f"{row.get('trial')!r}, which is not tried today."
        )
    kept = {name: row[name] for name in ("validation", "tried")}
    return dataclasses.replace(chosen[0], validate=None, notes=kept)
