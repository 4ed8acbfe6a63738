"""command line -> what an experiment is asked for."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Collection
from typing import Annotated, Literal, TypeVar

import jax
import jax.random as jr
import tyro


Flag = tyro.conf.arg
Options = TypeVar("Options", bound="Config")


@dataclasses.dataclass(frozen=True)
class Config:
    """What every experiment can be asked for; one that can be asked for more inherits."""

    preset: Literal["quick", "paper"] = "quick"
    """quick: about three minutes on two cores. paper: the paper's model and budget."""
    seed: int = 0
    """Of the initial weights and the order of the batches. The data stays the same."""
    out: pathlib.Path | None = None
    """Folder for the run. By default runs/NAME/TIME."""
    data: pathlib.Path | None = None
    """Folder of data sets, and of downloads. By default $WARP_JAX_DATA, else the user's
    cache. Data that is made, or comes with scikit-learn, needs none."""
    resume: pathlib.Path | None = None
    """Folder of a run that was interrupted, to go on with. Its own options hold."""
    steps: int | None = None
    """Updates of each model. By default the preset's."""
    models: Annotated[tuple[str, ...], Flag(metavar="[NAME ...]")] = ()
    """Train only these models, as in --models GRU LRU, and those whose names contain what
    is no name in full. What is part of none, as in --models list, is refused with all
    names that there are."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"`--steps` needs at least 1; got {self.steps}.")
        if self.seed < 0:
            raise ValueError(f"`--seed` needs at least 0; got {self.seed}.")
        if self.data is not None and not self.data.is_dir():
            raise ValueError(
                f"`--data {self.data}` needs an existing folder of data sets."
            )

    def key(self, *names: str) -> jax.Array:
        """Returns a random key that depends on the seed and on `names` alone."""
        key = jr.key(self.seed)
        for letter in "/".join(names).encode():
            key = jr.fold_in(key, letter)
        return key

    def check_models(self, names: Collection[str]) -> None:
        """**Raises:** `ValueError` where `models` has what is part of no name of `names`,
        which are all that there are.
        """
        for part in self.models:
            if not any(part.lower() in name.lower() for name in names):
                raise ValueError(
                    f"`--models {part}` is part of no model's name; there are "
                    f"{'; '.join(names)}."
                )

    def dump(self) -> dict:
        """Returns the options as JSON."""
        return {
            key: str(value) if isinstance(value, pathlib.Path) else value
            for key, value in dataclasses.asdict(self).items()
        }


@dataclasses.dataclass(frozen=True)
class Rated(Config):
    """What an experiment that tries several learning rates can be asked for."""

    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (
        1e-3,
        3e-3,
    )
    """Each is tried with each model; validation data chooses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rates(self.learning_rates)


def check_rates(rates: tuple[float, ...]) -> None:
    """**Raises:** `ValueError` for learning rates that cannot be tried."""
    if not rates or len(set(rates)) < len(rates) or not all(r > 0 for r in rates):
        raise ValueError(
            "`--learning-rates` needs one or more, different and above 0; got "
            f"{' '.join(map(str, rates)) or 'none'}."
        )


def resolve(name: str, config: Options) -> tuple[Options, pathlib.Path]:
    """Returns the options that hold and the folder of the run. Those of a run to resume
    keep the `resume` they were asked with, so they resolve to themselves.

    **Raises:** `ValueError` where the folder to resume is not a run of this experiment, or
    the folder to begin in holds one already.
    """
    if config.resume is None:
        stamp = time.strftime("%Y-%m-%d-%H%M%S")
        folder = config.out or pathlib.Path("runs") / name / stamp
        refuse_used(folder)
        return config, folder
    path = config.resume / "config.json"
    try:
        written = json.loads(path.read_text())
        experiment = written.pop("experiment")
        kinds = {field.name: field.type for field in dataclasses.fields(config)}
        names = [k for k, v in written.items() if v and kinds[k] == pathlib.Path | None]
        paths = {k: pathlib.Path(written[k]) for k in names}
        lists = {k: tuple(v) for k, v in written.items() if isinstance(v, list)}
        given = written | paths | lists | {"resume": config.resume}
        resumed = type(config)(**given)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`--resume {config.resume}` needs the folder of a run; cannot read {path}: "
            f"{error}."
        ) from error
    if experiment != name:
        raise ValueError(
            f"`--resume {config.resume}` is a run of {experiment!r}, not of {name!r}."
        )
    return resumed, config.resume


def refuse_used(folder: pathlib.Path) -> None:
    """**Raises:** `ValueError` where a folder to begin in holds a run already."""
    if (folder / "config.json").exists():
        raise ValueError(
            f"`--out {folder}` holds a run already. Go on with it by "
            f"`--resume {folder}`, or choose another folder."
        )
