"""paths -> records: run folders and copies of their summaries, read and checked."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Weights:
    """`weights.npz` of a run folder: a network's weights as a sequence passes.

    - `times`: `(frame,)`, of the frames.
    - `labels`: `(sequence,)`, what each sequence is.
    - `layers`: by the name of each array of the network, `(sequence, frame, ...)`.
    """

    times: np.ndarray
    labels: list[str]
    layers: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Record:
    """One run. `config`, `curves`, `figures` and `weights` are empty where all that there
    is is a copy of its summary.

    - `path`: of the run folder, or of the copy.
    - `results`: the rows of the summary.
    - `curves`: the lines of `metrics.jsonl` that have a loss, by model.
    """

    path: pathlib.Path
    experiment: str
    dataset: str
    preset: str
    seed: int
    results: list[dict[str, Any]]
    versions: dict[str, str]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    curves: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
    figures: list[pathlib.Path] = dataclasses.field(default_factory=list)
    weights: Weights | None = None


# What a summary holds, and a row of its results.
SUMMARY = {"experiment": str, "dataset": str, "preset": str, "seed": int}
SUMMARY |= {"results": list, "versions": dict}
ROW = {"model": str, "metrics": dict, "parameters": int, "state_size": int}
ROW |= {"steps": int}
NUMBERS = ("parameters", "state_size", "steps", "validation", "learning_rate")
NUMBERS += ("transition_parameters",)


def read(paths: Sequence[pathlib.Path], call: str = "report") -> list[Record]:
    """Returns the runs at `paths`, each of which is a run folder, a JSON file with the
    content of a `summary.json`, or a folder with such folders and files anywhere in it.

    - `call`: what was asked for with these paths, for the errors.

    **Raises:** `ValueError` that names the path, where there is no run, or one that is
    unfinished or malformed.
    """
    if not paths:
        raise ValueError(f"`{call}` needs run folders or summaries; got none.")
    found = list(dict.fromkeys(p for path in paths for p in _below(path, call)))
    return [_folder(p) if p.is_dir() else _file(p) for p in found]


def _below(path: pathlib.Path, call: str) -> list[pathlib.Path]:
    if not path.exists():
        raise ValueError(
            f"`{call} {path}` needs a run folder or a summary; nothing is there."
        )
    if path.is_file() or (path / "config.json").exists():
        return [path]
    runs = sorted(p.parent for p in path.rglob("config.json"))
    copies = (p for p in path.rglob("*.json") if not set(p.parents) & set(runs))
    found = runs + sorted(copies)
    if not found:
        raise ValueError(
            f"`{call} {path}` needs a folder with runs in it: there is neither a "
            "config.json nor a copy of a summary.json below it."
        )
    return found


def _file(path: pathlib.Path) -> Record:
    return Record(path=path, **_summary(path))


def _folder(path: pathlib.Path) -> Record:
    config = _json(path / "config.json", dict)
    summary = path / "summary.json"
    if not summary.exists():
        raise ValueError(
            f"The run {path} is not finished: it has no summary.json. Go on with it by "
            f"`python -m experiments {config.get('experiment', 'NAME')} --resume {path}`, "
            "or leave it out."
        )
    weights = path / "weights.npz"
    return Record(
        path=path,
        **_summary(summary),
        config=config,
        curves=_curves(path / "metrics.jsonl"),
        figures=sorted((path / "figures").glob("*.png")),
        weights=_weights(weights) if weights.exists() else None,
    )


def _json(path: pathlib.Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path} as JSON: {error}.") from error
    if not isinstance(value, kind):
        raise ValueError(f"{path} needs to hold a JSON object; got {_said(value)}.")
    return value


def _summary(path: pathlib.Path) -> dict[str, Any]:
    summary = _json(path, dict)
    _has(path, "the summary", summary, SUMMARY)
    for i, row in enumerate(summary["results"]):
        where = f"result {i}"
        if not isinstance(row, dict):
            raise _malformed(path, f"{where} is {_said(row)}, not an object")
        _has(path, where, row, ROW)
        figures = row["metrics"] | {k: row[k] for k in NUMBERS if k in row}
        for name, value in figures.items():
            if not _number(value):
                raise _malformed(path, f"{where} has {_said(value)} as {name!r}")
    return {name: summary[name] for name in SUMMARY}


def _has(path: pathlib.Path, what: str, value: dict, kinds: dict[str, type]) -> None:
    for name, kind in kinds.items():
        if name not in value:
            raise _malformed(path, f"{what} has no {name!r}")
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            about = f"{what} has {_said(value[name])} as {name!r}"
            raise _malformed(path, f"{about}, which is not a {kind.__name__}")


def _malformed(path: pathlib.Path, what: str) -> ValueError:
    return ValueError(
        f"{path} is no summary of a run: {what}. Give run folders, or copies of the "
        "summary.json in them."
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _curves(path: pathlib.Path) -> dict[str, list[dict]]:
    curves: dict[str, list[dict]] = {}
    if not path.exists():
        return curves
    for i, text in enumerate(_lines(path)):
        try:
            line = json.loads(text)
            if "loss" in line:
                point = {k: line[k] for k in ("step", "loss", "validation")}
                if point["validation"] is None:
                    point["validation"] = math.nan
                if not all(map(_number, point.values())):
                    raise ValueError(f"one of {_said(point)} is not a number")
                curves.setdefault(line["model"], []).append(point)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {i + 1}, is no line of a training: {error!r}. Run it "
                f"anew, or go on with it by `--resume {path.parent}`."
            ) from error
    return curves


def _lines(path: pathlib.Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path}: {error}.") from error


def _weights(path: pathlib.Path) -> Weights:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], float) for name in _layers(file)}
            times, labels = np.asarray(file["times"], float), file["labels"]
    except Exception as error:  # A damaged archive can raise almost anything.
        raise _no_weights(path, repr(error)) from error
    lead = (len(labels), len(times))
    if not arrays or not all(lead):
        raise _no_weights(path, "it is empty")
    for name, array in arrays.items():
        if array.shape[:2] != lead or array.ndim > 4 or not np.isfinite(array).all():
            about = f"{name!r} has shape {array.shape}, or is not finite"
            raise _no_weights(path, f"{about}; its first axes need to be {lead}")
    layers = {k.removeprefix("layer "): v for k, v in arrays.items()}
    return Weights(times, [str(label) for label in labels], layers)


def _layers(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("layer ")]


def _no_weights(path: pathlib.Path, what: str) -> ValueError:
    return ValueError(
        f"{path} does not hold the weights of a run: {what}. Delete it, and the page "
        "goes without."
    )
