"""silverbox: simulation of a measured oscillator with a hardening spring."""

import dataclasses
import functools
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

import warp_jax as wj

from ._config import Flag, Rated, resolve
from ._data import check_sampling, data_folder, Dataset, load_silverbox, Sampling
from ._data.silverbox import CONTEXT, INPUTS
from ._fitted import corrections, DelayedDecoder, Fitted, LawDecoder, linear
from ._free_run import Simulation
from ._irregular import run_irregular
from ._models import Bounded, rivals, Still, subspace, warp
from ._run import Run
from ._sizes import count
from ._systems import change, compare, draw, predictions
from .baselines import Model


# Samples in which states forget, a few periods of the oscillator: a sequence must show
# them as they are after a long time.
MEMORY = 32
STEP = 1 / MEMORY
HORIZONS = 1, 8, 32, 128
STEPS = {"quick": 300, "paper": 4000}
BATCH = {"quick": 16, "paper": 64}
# Where the output is cut off, in deviations: the arrow reaches 5.5 of them.
LIMIT = 10.0


@dataclasses.dataclass(frozen=True)
class Options(Rated):
    """What `silverbox` can be asked for: one rate, for its trainings have few steps, and
    what takes time is to compile them.
    """

    learning_rates: Annotated[tuple[float, ...], Flag(metavar="[RATE ...]")] = (1e-2,)
    """Each is tried with each model; validation data chooses."""
    drop: float | None = None
    """The share of samples that are missing at random, in [0, 1). Given, and be it 0, the
    task is a forecast of windows with GRU, LRU and a neural CDE beside WARP. By default the
    usual simulation, with no sample missing."""
    jitter: float | None = None
    """How irregular times are, in [0, 1): sample k is taken at k + jitter u steps, with u
    uniform over [-1/2, 1/2). Given, the task is that of --drop. By default none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampling(self.drop, self.jitter)


def hardening(x: Float[Array, " d"]) -> Float[Array, " n"]:
    """Features of a hardening spring (Duffing): the output's square and cube beside those
    of a linear one.
    """
    return jnp.concatenate([linear(x), jnp.stack([x[0] ** 2, x[0] ** 3])])


def cubic(x: Float[Array, " d"]) -> Float[Array, " n"]:
    """All 13 features linear in the inputs and cubic in the last two outputs (NARX)."""
    y, z = x[:INPUTS]
    powers = y**2, y * z, z**2, y**3, y**2 * z, y * z**2, z**3
    return jnp.concatenate([linear(x), jnp.stack(powers)])


def models(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """Models of about 16 000 parameters each, that do not see the time: a test lasts 200
    times as long as a training sequence.
    """
    plain_key, rival_key, key = jr.split(key, 3)
    inputs, scale = data.train.xs.shape[-1], change(data, 1)
    shared: dict[str, Any] = {"length": MEMORY, "coordinates": Still()}
    plain = warp(inputs, 1, **shared, scale=scale, transition=subspace, key=plain_key)
    shared["parameters"] = count(plain)
    others = rivals(inputs, 1, **shared, scale=scale, step=STEP, key=rival_key)
    line, duffing, narx = fits(data).values()
    correct = functools.partial(
        corrections, inputs=inputs, **shared, transition=subspace, key=key
    )
    # What a linear fit lacks is many times its error where the amplitude is large.
    of_line, of_cubic = correct(line, limit=50.0), correct(narx)
    made = {
        "WARP": plain,
        "WARP, linear plus correction": of_line["WARP"],
        "WARP, cubic plus correction": of_cubic["WARP"],
        "WARP-Phys": law(duffing, inputs, key),
        "WARP-Phys, wrong law": law(line, inputs, key),
        **others,
        "GRU, cubic plus correction": of_cubic["GRU"],
    }
    return {name: delayed(model) for name, model in made.items()}


def fits(data: Dataset) -> dict[str, Fitted]:
    """What least squares gives of one step: a linear spring, a hardening one, a cubic."""
    named = {"linear": linear, "Duffing": hardening, "cubic": cubic}
    return {
        f"{name}, least squares": Fitted(features, data.train.xs, 1)
        for name, features in named.items()
    }


def delayed(model: Model) -> Model:
    """Returns a model of the output that predicts its past beside it, within bounds."""
    bounded = wj.ActivatedDecoder(model.decoder, wj.Clip(LIMIT))
    return eqx.tree_at(lambda m: m.decoder, model, DelayedDecoder(bounded))


def law(fit: Fitted, inputs: int, key: Any) -> wj.WARP:
    """Returns a WARP whose network moves the parameters of a law, and sees nothing else."""
    network_key, key = jr.split(key)
    network = eqx.nn.MLP(1, fit.weights.size, 18, 2, jnn.silu, key=network_key)
    decoder = wj.NetworkDecoder(network)
    return wj.WARP(
        decoder=LawDecoder(wj.ActivatedDecoder(decoder, Bounded(1.0)), fit),
        transition=subspace(decoder.state_size, inputs, MEMORY, key),
        initial=wj.LearntInitial(decoder.flatten(network)),
        coordinates=Still(),
    )


def alone(fit: Fitted, inputs: int) -> Model:
    """Returns a WARP that says what the fit says: its state is zero and stays so."""
    decoder = wj.NetworkDecoder(eqx.nn.Linear(1, fit.weights.size, key=jr.key(0)))
    size = decoder.state_size
    return wj.WARP(
        decoder=LawDecoder(decoder, fit),
        transition=wj.DenseTransition(size, inputs),
        initial=wj.LearntInitial(jnp.zeros(size)),
    )


def task(data: Dataset) -> Simulation:
    """Returns the simulation of the output, in millivolts, after its first samples."""
    assert data.scale is not None
    inputs = data.train.xs.shape[-1] - INPUTS
    scale = (float(data.scale[0]),)
    return Simulation(CONTEXT, scale=scale, known=inputs, step=STEP, horizons=HORIZONS)


def run(config: Options) -> dict:
    """Simulate the output of Silverbox from its input, within and beyond the amplitude of
    the training data; or, with --drop or --jitter, forecast it from irregular samples.
    """
    config, _ = resolve("silverbox", config)
    if config.drop is None and config.jitter is None:
        return _simulate(config)
    return run_irregular(config, Sampling(config.drop or 0.0, config.jitter or 0.0))


def _simulate(config: Options) -> dict:
    data = load_silverbox(data_folder(config.data))
    made, fitted = models(data, config.key("models")), fits(data)
    run = Run("silverbox", data.name, config, (*made, *fitted))
    simulation = task(data)
    trained = compare(run, data, simulation, made, steps=STEPS, batch=BATCH)
    for name, fit in fitted.items():
        if run.wants(name):
            model = delayed(alone(fit, data.train.xs.shape[-1]))
            validation = simulation.validate(data.validation)(model)
            metrics = simulation.test(data)(model)
            run.reference(name, metrics | {"validation_mse": validation})
    shown = data.validation.xs[0]
    draw(run, shown, predictions(simulation, trained, shown))
    return run.finish()
