"""in_context: a function from examples of it, without a gradient step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import warp_jax as wj

from . import _figures as figures
from ._config import Flag, Rated, resolve
from ._data import Fresh, Linear, make_in_context, Regressions, Sinusoids
from ._data.in_context import AbstractFamily
from ._data.made import stream
from ._in_context import Asked, microseconds, relative
from ._regression import gradient_step, KeyTokens, Regression, ridge
from ._regressors import models
from ._rivals import state_size
from ._run import Run
from ._trial import Trial


class Functions(NamedTuple):
    """Functions that a context tells of.

    - `tokens`: of a context, by default.
    - `lift`: features in which the functions are linear; by default the keys themselves.
    """

    family: AbstractFamily
    tokens: int
    lift: Callable | None = None


def waves(key: Float[Array, " k"]) -> Float[Array, " n"]:
    """Features of a sinusoid whose frequency is known."""
    return jnp.concatenate([jnp.sin(5 * key), jnp.cos(5 * key)])


DATASETS = {
    "linear-2": Functions(Linear(2), 32),
    "linear-8": Functions(Linear(8), 32),
    "sinusoids": Functions(Sinusoids(), 10, waves),
}
IDENTIFIED = "WARP-Phys, identified"
# Left out of the quick preset, unless it is asked for: its training takes as long as that
# of all others.
SLOW = ("Transformer, fed",)
STEPS = {"quick": 4000, "paper": 40_000}
PARAMETERS = {"quick": 50_000, "paper": 200_000}
# Contexts of a batch and queries of each; contexts that choose and that are tested, and
# queries of each of these, more than in training.
BATCH, QUERIES = 64, 16
CONTEXTS, ASKED = (256, 1024), 128
# Contexts that units and the preconditioner are taken from.
FITTED = 4096
# Tokens given in the test, in units of those of the training.
SHARES = 0.25, 0.5, 1, 2


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `in_context` can be asked for."""

    dataset: Literal["linear-2", "linear-8", "sinusoids"] = "linear-8"
    """linear-2, linear-8: y = w . x, of 2 or 8 numbers; sinusoids: y = a sin(5 x + p)."""
    tokens: int | None = None
    """Tokens of a context. By default 32; of sinusoids 10."""
    shortest: int | None = None
    """The fewest tokens of a context in training. By default all have the same number."""
    noise: float = 0.0
    """Standard deviation of what is added to the tokens' values."""
    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (3e-3,)
    """Each is tried with each model; validation data chooses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens is not None and self.tokens < 4:
            raise ValueError(f"`--tokens` needs at least 4; got {self.tokens}.")
        if self.shortest is not None and not 1 <= self.shortest <= self.length:
            raise ValueError(
                f"`--shortest` needs 1 to {self.length}, the tokens of a context; got "
                f"{self.shortest}."
            )
        if not 0 <= self.noise < np.inf:
            raise ValueError(
                f"`--noise` needs a number of at least 0; got {self.noise}."
            )

    @property
    def length(self) -> int:
        return self.tokens or DATASETS[self.dataset].tokens

    @property
    def told(self) -> str:
        """What a training context tells of which functions."""
        same = self.shortest in (None, self.length)
        fewest = "" if same else f"{self.shortest} to "
        noise = f", noise {self.noise:g}" if self.noise else ""
        return f"{self.dataset}, {fewest}{self.length} tokens{noise}"


def run(config: Options) -> dict:
    """Learn functions from examples in a context, and ask for their values elsewhere."""
    config, _ = resolve("in_context", config)
    functions = DATASETS[config.dataset]
    family = dataclasses.replace(functions.family, noise=config.noise)
    tokens, shortest = config.length, config.shortest or config.length
    longest = int(tokens * max(SHARES))
    data = make_in_context(family, longest, CONTEXTS, ASKED)
    fitted = family.draw(stream("train"), FITTED, longest, QUERIES)
    units, size = fitted.given(tokens), PARAMETERS[config.preset]
    quick = config.preset == "quick" and not config.models
    asked: dict[str, tuple[Asked, Any]] = {}
    made = models(units, size, config.key("models"))
    run = Run("in_context", config.told, config, made)
    for name, (kind, make) in made.items():
        if not run.wants(name) or (quick and name in SLOW):
            continue
        task, model = kind(tokens, shortest), make()
        trial = Trial(
            name=name,
            model=model,
            loss=task.loss,
            batches=Fresh(family, BATCH, tokens, QUERIES, seed=config.seed),
            steps=config.steps or STEPS[config.preset],
            state_size=state_size(model),
            validate=task.validate(data),
            test=task.test(data),
            weight_decay=0.0,
        )
        asked[name] = task, run.choose(name, trial.at(config.learning_rates))
    penalty = family.noise**2 / family.prior
    task = Asked(tokens, tokens)
    model = wj.physics.least_squares(KeyTokens(family.keys, functions.lift), penalty)
    run.reference(IDENTIFIED, task.test(data)(model))
    asked[IDENTIFIED] = task, model
    answered: dict[str, Regression] = {
        "least squares": ridge(),
        "one gradient step": gradient_step(fitted),
    }
    if penalty:
        answered["ridge"] = ridge(penalty)
    for name, regression in answered.items():
        run.reference(name, scores(regression, data, tokens))
    rows = probe(run, asked, answered, data, tokens)
    for name, metrics in microseconds(asked, data.test.given(tokens)).items():
        run.reference(name, metrics, probe="time")
    if curves := run.curves():
        drawn = figures.learning_curves(curves, "validation relative_error")
        run.figure("learning_curves", drawn)
    run.figure("error_by_length", draw(rows, tokens))
    return run.finish(lambda row: row.get("probe", ""))


def scores(regression: Regression, data: Regressions, tokens: int) -> dict[str, float]:
    """Returns the metrics of a regression, as those that models have."""
    inside, beyond = (
        relative(regression(contexts), contexts.answers)
        for contexts in (data.test.given(tokens), data.beyond.given(tokens))
    )
    return inside | {f"beyond_{name}": figure for name, figure in beyond.items()}


def probe(
    run: Run,
    asked: Mapping[str, tuple[Asked, Any]],
    answered: Mapping[str, Regression],
    data: Regressions,
    tokens: int,
) -> list[dict]:
    """Adds a row for each model and regression and number of tokens given, on the test set;
    returns these rows.
    """
    begun = len(run.results)
    for given in dict.fromkeys(int(share * tokens) for share in SHARES):
        contexts = data.test.given(given)
        found = {
            n: task.evaluate(model, contexts) for n, (task, model) in asked.items()
        }
        found |= {
            n: relative(r(contexts), contexts.answers) for n, r in answered.items()
        }
        for name, metrics in found.items():
            run.reference(name, metrics, probe=f"{given} tokens given", given=given)
    return run.results[begun:]


def draw(rows: list[dict], tokens: int):
    """Draws the errors by tokens given; what is below the frame is exact."""
    figure, ((ax,),) = figures.axes(1, 1, width=5, height=3.6)
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        errors = [row["metrics"]["relative_error"] for row in own]
        ax.plot([r["given"] for r in own], errors, "o-", label=name, markersize=3)
    ax.axvline(tokens, color="gray", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        yscale="log",
        ylim=(1e-6, 10),
        xlabel="tokens given (training: dotted)",
        ylabel="relative_error",
    )
    ax.legend(frameon=False, fontsize=6)
    return figure
