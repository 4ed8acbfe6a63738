"""lorenz: forecasts of a chaotic system, on and off the attractor of the training."""

import functools

import diffrax
import jax
import jax.numpy as jnp

import warp_jax as wj

from . import _figures as figures
from ._config import Rated, resolve
from ._data import Dataset, make_lorenz
from ._data.lorenz import LENGTHS, SIZES, STEP
from ._flows import Flow
from ._models import law, published, ScaledIncrements
from ._run import Run
from ._systems import change, compare, contenders, draw, predictions
from ._tasks import Forecast
from .baselines import Model


# What is forecast lasts 1 unit of time, of which it takes 1.1 for an error to grow by a
# factor e; or the paper's 500 steps of 10 units.
CONTEXT = {"quick": 50, "paper": 500}
# Deviations from the mean; the attractor has less than 4.
LIMIT = 10.0
STEPS = {"quick": 400, "paper": 20_000}
BATCH = {"quick": 32, "paper": 64}
# The paper's WARP.
PAPER = functools.partial(
    published,
    width=128,
    depth=1,
    decode=lambda network: wj.ActivatedDecoder(
        wj.NetworkDecoder(network), wj.Clip(5.0)
    ),
    drive=wj.Increments(time_channel=True),
)


def models(data: Dataset, preset: str, key: jax.Array) -> dict[str, Model]:
    """Models of about 17 000 parameters each, or as many as the paper's WARP has."""
    return contenders(data, key, make={"quick": None, "paper": PAPER}[preset])


def laws(data: Dataset, key: jax.Array) -> dict[str, Model]:
    """WARPs that know the law but not its three numbers, which begin at about twice
    what they are; and one that has it wrong: without the damping of y.
    """
    assert data.scale is not None and data.centre is not None
    scale, centre = (tuple(a.tolist()) for a in (data.scale, data.centre))
    length = data.train.xs.shape[1]

    def field(damping, t, place, p):
        # Far off the attractor slopes grow no further: a wrong law stays finite.
        inside = jnp.clip(place, -LIMIT, LIMIT)
        x, y, z = jnp.asarray(centre) + jnp.asarray(scale) * inside
        slope = (
            p["sigma"] * (y - x),
            x * (p["rho"] - z) - damping * y,
            x * y - p["beta"] * z,
        )
        return jnp.stack(slope) / jnp.asarray(scale)

    def decode(damping, network):
        return wj.physics.ODEDecoder(
            network,
            functools.partial(field, damping),
            size=3,
            parameters={
                "sigma": wj.physics.Interval(0.0, 40.0),
                "rho": wj.physics.Interval(0.0, 100.0),
                "beta": wj.physics.Interval(0.0, 10.0),
            },
            # A time step of the data is one of the solver.
            stepsize_controller=diffrax.ConstantStepSize(),
            dt0=1.0,
            max_steps=2,
            time_scale=STEP * (length - 1),
        )

    drive = ScaledIncrements(scale=change(data))
    make = functools.partial(
        law, drive=drive, channels=3, numbers=3, length=length, key=key
    )
    return {
        "WARP-Phys, learnt": make(functools.partial(decode, 1.0)),
        "WARP-Phys, wrong law": make(functools.partial(decode, 0.0)),
    }


def identified(data: Dataset) -> dict[str, Model]:
    """Equations that each context identifies by least squares from the terms of the law,
    as they are in normalised channels: nothing is trained. The wrong one lacks `x z`.
    """
    dt = 1 / (data.train.xs.shape[1] - 1)
    terms = {
        "WARP-Phys, identified": lambda x: jnp.stack([*x, x[0] * x[1], x[0] * x[2]]),
        "WARP-Phys, identified, wrong law": lambda x: jnp.stack([*x, x[0] * x[1]]),
    }
    return {
        name: wj.physics.least_squares(Flow.of(lift, 3, dt=dt))
        for name, lift in terms.items()
    }


def run(config: Rated) -> dict:
    """Forecast the Lorenz system at its usual constants, and at others."""
    config, _ = resolve("lorenz", config)
    preset = config.preset
    data = make_lorenz(SIZES[preset], LENGTHS[preset])
    task = Forecast(CONTEXT[preset])
    learnt = models(data, preset, config.key("models")) | laws(data, config.key("laws"))
    known = identified(data)
    run = Run("lorenz", "lorenz", config, (*learnt, *known))
    trained = compare(run, data, task, learnt, steps=STEPS, batch=BATCH)
    for name, model in known.items():
        if run.wants(name):
            trained[name] = model
            run.reference(name, task.test(data)(model))
    shown = data.test.xs[0]
    predicted = predictions(task, trained, shown)
    draw(run, shown, predicted)
    sideways = {name: outputs[:, ::2] for name, outputs in predicted.items()}
    run.figure("attractor", figures.planes(shown[1:, ::2], sideways))
    return run.finish()
