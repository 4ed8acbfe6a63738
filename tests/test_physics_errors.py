"""Bad laws raise errors that quote the call and the value, and say the way out."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import diffrax
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj

from .helpers import assert_refused
from .laws import make_law_model, physics


KEY = jr.key(0)
SINUSOID = "SinusoidDecoder(network, frequency)"
OSCILLATOR = "OscillatorDecoder(network)"
LINEAR = "LinearODEDecoder(network, size)"
ODE = "ODEDecoder(network, vector_field, solver)"
SQUARES = "LeastSquaresDecoder(features, ridge)"
FORECAST, UNROLL = (
    "forecast(model, xs, horizon, ts)",
    "unroll(model, xs, ts, forcing, key)",
)
XS = jnp.ones((4, 2))
STATE = wj.State(jnp.ones(1), jnp.ones(3), jnp.zeros(()))
BOUNDS = "Interval(low, high)"


def network(outs):
    return eqx.nn.Linear(1, outs, key=KEY)


def field(t, y, p):
    return jnp.stack([y[1], -y[0]])


def ode(**given):
    return physics.ODEDecoder(
        None, given.pop("field", field), **{"parameters": {}} | given
    )


def read(decoder, state=STATE):
    return decoder(state, jnp.ones(1))


def gain(**given):
    return wj.SkipDecoder(wj.NetworkDecoder(network(2)), given["skip"])


VALUE_ERRORS = [
    (
        SINUSOID,
        "1 outputs (1 for phase)",
        lambda m: physics.SinusoidDecoder(network(2)),
    ),
    (
        OSCILLATOR,
        "3 outputs (1 for m, 1 for k, 1 for c); got 2",
        lambda m: physics.OscillatorDecoder(network(2)),
    ),
    (
        OSCILLATOR,
        "0 outputs (none); got 1",
        lambda m: physics.OscillatorDecoder(network(1), m=1, k=2, c=3),
    ),
    (OSCILLATOR, "needs a network with 3", lambda m: physics.OscillatorDecoder(None)),
    (
        OSCILLATOR,
        "time_scale=0",
        lambda m: physics.OscillatorDecoder(network(3), time_scale=0),
    ),
    (
        OSCILLATOR,
        "shape (2,), position and velocity; got (3,)",
        lambda m: read(physics.OscillatorDecoder(None, m=1.0, k=1.0, c=1.0)),
    ),
    (LINEAR, "size=0", lambda m: physics.LinearODEDecoder(network(4), 0)),
    (LINEAR, "inputs=-1", lambda m: physics.LinearODEDecoder(network(4), 2, inputs=-1)),
    (
        LINEAR,
        "`M` of shape (2, 2); got ()",
        lambda m: physics.LinearODEDecoder(network(4), 2, M=physics.Free()),
    ),
    (LINEAR, "4 outputs (4 for M)", lambda m: physics.LinearODEDecoder(network(3), 2)),
    (ODE, "max_steps=0", lambda m: ode(max_steps=0)),
    (ODE, "keeps the name 'inputs'", lambda m: ode(parameters={"inputs": 1.0})),
    (
        ODE,
        "got dt0=None. For ten steps",
        lambda m: ode(stepsize_controller=diffrax.ConstantStepSize()),
    ),
    (ODE, "Say it: `size=...`", lambda m: ode(field=lambda t, y, p: -y)),
    (ODE, "returns none of the sizes", lambda m: ode(field=lambda t, y, p: y[:0])),
    (ODE, "needs `parameters`", lambda m: ode(parameters=None)),
    (
        ODE,
        "max_steps=2. Raise it",
        lambda m: read(
            ode(max_steps=2), wj.State(jnp.ones(1), XS[0], jnp.array(-99.0))
        ),
    ),
    (BOUNDS, "low=2 and high=1", lambda m: physics.Interval(2, 1)),
    (BOUNDS, "high=inf", lambda m: physics.Interval(2, float("inf"))),
    ("Positive(scale)", "scale=-1", lambda m: physics.Positive(scale=-1)),
    ("Positive(least)", "least=2", lambda m: physics.Positive(least=2)),
    ("Free(centre)", "centre=nan", lambda m: physics.Free(centre=float("nan"))),
    ("Free(shape)", "shape=0", lambda m: physics.Free(shape=(0,))),
    (
        "Constant(value, kind)",
        "got -1.0",
        lambda m: physics.Constant(-1.0, physics.Positive()),
    ),
    ("Steps(size)", "size=0", lambda m: physics.Steps(0)),
    ("Steps(size)", "dt=-1", lambda m: physics.Steps(2, dt=-1)),
    (
        "Steps(size)",
        "to look further ahead, `forecast`",
        lambda m: physics.Steps(2, dt=0.1, lift=jnp.sin),
    ),
    ("Steps(size)", "to a vector", lambda m: physics.Steps(2, lift=jnp.sum)),
    (
        "Steps(size)",
        "shape (3,), 2 and 1 inputs; got (2,)",
        lambda m: physics.least_squares(physics.Steps(2, inputs=1))(XS),
    ),
    (
        "Tokens(keys, values)",
        "2 keys and 1 values; got (2,)",
        lambda m: physics.least_squares(physics.Tokens(2))(XS),
    ),
    (SQUARES, "ridge=-1", lambda m: physics.LeastSquaresDecoder(physics.Steps(2), -1)),
    (
        "SumTransition(size, keep)",
        "keep=1.5",
        lambda m: physics.least_squares(physics.Steps(2), keep=1.5),
    ),
    (
        "SkipDecoder(decoder, skip)",
        "2 of the decoder and 1 of the skip",
        lambda m: gain(skip=wj.NetworkDecoder(network(1))),
    ),
    (
        "SkipDecoder(decoder, skip)",
        "(2,) of the decoder and (3,) of the skip",
        lambda m: read(
            gain(skip=lambda x: x), wj.State(jnp.ones(4), jnp.ones(3), jnp.zeros(()))
        ),
    ),
    ("Gain(size, start)", "size=0", lambda m: wj.Gain(0)),
    (FORECAST, "of which 1 are known", lambda m: known(1)),
    (FORECAST, "`known` with 3 steps", lambda m: known(2, m, 2)),
    (FORECAST, "`known` with 2 axes", lambda m: wj.forecast(m, XS, 3, known=XS[0])),
    (FORECAST, "NaN", lambda m: known(1, fill=jnp.nan)),
    (UNROLL, "known=-1", lambda m: wj.unroll(m, XS, forcing=1, known=-1)),
    (UNROLL, "of which 1 are known", lambda m: wj.unroll(m, XS, forcing=1, known=1)),
]
TYPE_ERRORS = [
    (SINUSOID, "got str", lambda m: physics.SinusoidDecoder(network(1), "one")),
    (ODE, "got 3", lambda m: ode(field=3)),
    (ODE, "`solver`; got float", lambda m: physics.ODEDecoder(None, field, 0.1)),
    (SQUARES, "got function", lambda m: physics.LeastSquaresDecoder(lambda x: x)),
    ("SkipDecoder(decoder, skip)", "got 3", lambda m: gain(skip=3)),
    ("Known(value)", "'1'", lambda m: physics.Known("1")),
    ("Free(shape)", "a tuple", lambda m: physics.Free(shape=[2])),
]


def known(count, model=None, steps=3, fill=1.0):
    """Forecasts three steps with some known channels."""
    model = model or make_law_model("linear")
    return wj.forecast(model, XS, 3, known=jnp.full((steps, count), fill))


@pytest.mark.parametrize("call, fragment, act", VALUE_ERRORS)
def test_bad_laws_are_refused(call, fragment, act, unchecked):
    assert_refused(act, ValueError, call, fragment)


@pytest.mark.parametrize("call, fragment, act", TYPE_ERRORS)
def test_bad_types_are_refused(call, fragment, act, unchecked):
    assert_refused(act, TypeError, call, fragment)


def test_too_few_steps_are_found_inside_jit(unchecked):
    start = wj.State(jnp.ones(1), XS[0], jnp.array(-99.0))
    act = eqx.filter_jit(lambda m: read(ode(max_steps=2), start))
    assert_refused(act, eqx.EquinoxRuntimeError, ODE, "max_steps=2")
