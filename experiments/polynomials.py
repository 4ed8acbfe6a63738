"""polynomials: how many observations a state multiplies, by the depth of its network.

A sequence is a zero and `LENGTH - 1` independent numbers of mean zero and variance one.
Asked for, after the last of them, is the product of those at as many of `PLACES` as the
degree says. No polynomial of a lower degree is correlated with it, so what cannot multiply
so many numbers has a relative error of one at the least, which always saying zero has too.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import warp_jax as wj

from . import _figures as figures
from ._config import Flag, Rated, resolve
from ._mapped import each, mapped
from ._recipes import ReadOut
from ._run import Run, task_of
from ._trial import Trial


LENGTH, PLACES = 8, (1, 3, 5)
DEGREES = range(1, len(PLACES) + 1)
STEPS = {"quick": 1000, "paper": 10_000}
BATCH, CHOOSING, TESTED = 128, 1024, 8192
WIDTH = 8
# The network's inputs are constant, for it is read once; more of them are more weights.
COORDINATES = wj.SinusoidalCoordinates(8)

Activation = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `polynomials` can be asked for."""

    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (3e-3,)
    """Each is tried with each model; validation data chooses."""


def draw(key: jax.Array, count: int) -> Float[Array, "n t 1"]:
    """Returns sequences, evenly distributed but for the zero at their start."""
    bound = 3**0.5
    numbers = jr.uniform(key, (count, LENGTH - 1, 1), minval=-bound, maxval=bound)
    return jnp.pad(numbers, ((0, 0), (1, 0), (0, 0)))


class Product(eqx.Module):
    """The product of the observations at the first places, read after the last step."""

    degree: int = eqx.field(static=True)

    def answer(self, xs: Float[Array, "*n t 1"]) -> Float[Array, "*n"]:
        return jnp.prod(xs[..., PLACES[: self.degree], 0], axis=-1)

    def predict(
        self, model: Any, xs: Float[Array, "t 1"], key: Any = None
    ) -> Float[Array, ""]:
        return model.last(xs, query=1.0, key=key)[0]

    def loss(self, model: Any, xs: Float[Array, "n t 1"], key: Any) -> Float[Array, ""]:
        return wj.mse(each(self.predict, model, key, xs), self.answer(xs))

    def error(self, model: Any, xs: Float[Array, "n t 1"]) -> float:
        """Returns the squared error over that of always saying zero."""
        answers = np.asarray(self.answer(xs), np.float64)
        found = mapped(self.predict, model, xs)
        return float(np.mean((found - answers) ** 2) / np.mean(answers**2))


def network(layers: int, activation: Activation, key: Any) -> eqx.nn.MLP:
    """Returns a network of so many layers of weights."""
    inputs = COORDINATES.out_size
    return eqx.nn.MLP(inputs, 1, WIDTH, layers - 1, activation, key=key)


def self_decoding(layers: int, activation: Activation, key: Any) -> wj.WARP:
    """Returns a WARP whose state is a network of so many layers of weights."""
    made = network(layers, activation, key)
    decoder = wj.NetworkDecoder(made)
    return assembled(decoder, decoder.flatten(made))


def read_out(depth: int, key: Any) -> wj.WARP:
    """Returns a WARP whose state is as large as a network of three layers, and is read by a
    perceptron that is the same for all states: linearly where `depth`, its hidden layers,
    is zero.
    """
    theta_key, key = jr.split(key)
    made = network(3, jnn.identity, theta_key)
    theta = wj.NetworkDecoder(made).flatten(made)
    inputs = theta.size + COORDINATES.out_size
    function = eqx.nn.MLP(inputs, 1, WIDTH, depth, jnn.silu, key=key)
    return assembled(
        ReadOut(function=function, observe=False, state_size=theta.size, out_size=1),
        theta,
    )


def assembled(decoder: wj.AbstractDecoder, theta: Float[Array, " p"]) -> wj.WARP:
    """Returns the decoder under a dense A that observations drive."""
    return wj.WARP(
        decoder=decoder,
        transition=wj.DenseTransition(decoder.state_size, 1),
        initial=wj.LearntInitial(theta),
        drive=wj.Values(),
        coordinates=COORDINATES,
    )


MODELS: dict[str, Callable[[Any], wj.WARP]] = {
    "1 layer": functools.partial(self_decoding, 1, jnn.identity),
    "2 layers": functools.partial(self_decoding, 2, jnn.identity),
    "3 layers": functools.partial(self_decoding, 3, jnn.identity),
    "2 layers, SiLU": functools.partial(self_decoding, 2, jnn.silu),
    "3 layers, SiLU": functools.partial(self_decoding, 3, jnn.silu),
    "linear read-out": functools.partial(read_out, 0),
    "perceptron read-out": functools.partial(read_out, 2),
}


def run(config: Options) -> dict:
    """Multiply one, two and three of the numbers of a sequence, by states that are networks
    of one, two and three layers without activations, or with; and by states of equal size
    that a fixed function reads.
    """
    config, _ = resolve("polynomials", config)
    asked = {f"degree {n}: {name}": (n, name) for n in DEGREES for name in MODELS}
    run = Run("polynomials", "products", config, asked)
    validation = draw(run.key("validation"), CHOOSING)
    # The seed is that of the training: the test is the same for all.
    test = draw(jr.key(1), TESTED)
    for full, (degree, name) in asked.items():
        if not run.wants(full):
            continue
        task, model = Product(degree), MODELS[name](run.key("models", name))
        key = run.key("batches", str(degree))
        trial = Trial(
            name=full,
            model=model,
            loss=task.loss,
            batches=lambda step, key=key: draw(jr.fold_in(key, step), BATCH),
            steps=config.steps or STEPS[config.preset],
            state_size=model.decoder.state_size,
            validate=functools.partial(task.error, xs=validation),
            test=lambda model, task=task: {"relative_error": task.error(model, test)},
            weight_decay=0.0,
        )
        run.choose(full, trial.at(config.learning_rates))
    for degree in DEGREES:
        about = f"degree {degree}"
        curves = {
            trial.partition(": ")[2]: lines
            for trial, lines in run.curves().items()
            if trial.startswith(f"{about}: ")
        }
        if curves:
            figure = figures.learning_curves(curves, f"validation error, {about}")
            run.figure(f"learning_curves_degree_{degree}", figure)
    return run.finish(task_of)
