"""ablations: what each part of WARP is worth, one changed at a time."""

import dataclasses
from typing import Annotated, Any

from . import _inside as inside
from ._axes import AXES, variants
from ._config import Flag, Rated, resolve
from ._data import data_folder
from ._problems import load_problem, Problem
from ._recipes import Recipe, warps
from ._run import Run, task_of
from ._trial import Trial


STEPS = {"quick": 300, "paper": 3000}


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `ablations` can be asked for."""

    dataset: str = "digits"
    """digits, msd, mnist, fashion-mnist (both of 14 x 14 pixels), ETTh1, ETTh2, ETTm1,
    ETTm2, or a name of the UEA archive, as NATOPS."""
    axes: Annotated[tuple[str, ...], Flag(metavar="[NAME ...]")] = ()
    """Change only these parts, as in --axes A decoder. By default all that mean something
    on the data set."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [axis for axis in self.axes if axis not in AXES]:
            raise ValueError(
                f"`--axes {' '.join(unknown)}` needs some of {', '.join(AXES)}."
            )


def run(config: Options) -> dict:
    """Change one part of a WARP at a time, on one data set. A row that is the base recipe
    itself is trained once and stands in the table of every axis.
    """
    config, _ = resolve("ablations", config)
    problem = load_problem(config.dataset, data_folder(config.data))
    if apart := [axis for axis in config.axes if axis not in problem.axes]:
        raise ValueError(
            f"`--axes {' '.join(apart)}` means nothing on {problem.name}; there are "
            f"{', '.join(problem.axes)}."
        )
    made = list(variants(problem.base, config.axes or problem.axes))
    run = Run("ablations", problem.name, config, [name for name, _ in made])
    done: list[tuple[Recipe, dict[str, Any]]] = []
    trained: dict[str, tuple[Recipe, Any, Any]] = {}
    for name, recipe in made:
        if not run.wants(name):
            continue
        if row := next((row for known, row in done if known == recipe), None):
            run.results.append(_again(row, name))
            continue
        model = recipe.model(problem.shape, run.key("models"))
        trained[name] = recipe, model, _train(run, name, problem, recipe, model)
        done.append((recipe, run.results[-1]))
    inside.draw(run, problem, trained)
    return run.finish(task_of)


def _train(run: Run, name: str, problem: Problem, recipe: Recipe, model: Any) -> Any:
    config = run.config
    assert isinstance(config, Options)
    trial = Trial(
        name=name,
        model=model,
        loss=recipe.task.loss,
        batches=problem.batches(run.key("batches")),
        steps=config.steps or STEPS[config.preset],
        state_size=sum(warp.decoder.state_size for warp in warps(model)),
        validate=recipe.task.validate(problem.validation),
        test=recipe.task.test(problem.test),
        weight_decay=0.0,
    )
    return run.choose(name, trial.at(config.learning_rates))


def _again(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the row of a model under the name that it has on another axis. Its seconds
    count once.
    """
    kept = {key: value for key, value in row.items() if key != "seconds"}
    return kept | {"model": name, "same_as": row["model"]}
