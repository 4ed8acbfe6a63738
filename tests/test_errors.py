"""Bad input to a model raises an error that quotes the call and the value."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj

from .helpers import assert_refused, make_model


KEY = jr.key(0)
XS = jr.normal(KEY, (6, 2))
TS = jnp.linspace(0, 1, 6)
NAN = XS.at[3, 1].set(jnp.nan)
BACK = jnp.array([0, 1, 2, 1.5, 3, 4])
ONES = jnp.ones(6, bool)
CALL = "model(xs, ts, queries, mask)"
FORECAST = "forecast(model, xs, horizon, ts)"
UNROLL = "unroll(model, xs, ts, forcing, key)"


def forecaster(outs):
    return wj.WARP(
        decoder=wj.NetworkDecoder(eqx.nn.Linear(1, outs, key=KEY)),
        transition=wj.DenseTransition(2 * outs, 2),
        initial=wj.LearntInitial(jnp.zeros(2 * outs)),
    )


def with_drive(drive):
    """Calls a model whose drive does not suit its transition."""
    return eqx.tree_at(lambda m: m.drive, make_model(), drive)(XS)


def grown(m):
    """Returns a model whose states outgrow the finite numbers within six steps."""
    return eqx.tree_at(lambda m: m.transition.A, m, 1e30 * m.transition.A)


# The call that the message quotes, a part of what else it says, and what raises it.
VALUE_ERRORS = [
    (CALL, "2 axes; got shape (1, 6, 2)", lambda m: m(XS[None])),
    (CALL, "2 axes; got shape (2,)", lambda m: m(XS[0])),
    (CALL, "one step; got shape (0, 2)", lambda m: m(XS[:0])),
    (CALL, "3 channels", lambda m: m(jnp.ones((6, 3)))),
    (CALL, "nan at index (3, 1)", lambda m: m(NAN)),
    (CALL, "inf at index (0, 0)", lambda m: m(XS.at[0, 0].set(jnp.inf))),
    (CALL, "`ts` with 6 steps", lambda m: m(XS, jnp.arange(5.0))),
    (CALL, "`ts` with 1 axes; got shape (6, 1)", lambda m: m(XS, jnp.ones((6, 1)))),
    (CALL, "2.0 before 1.5", lambda m: m(XS, BACK)),
    (CALL, "nan at index (2,)", lambda m: m(XS, TS.at[2].set(jnp.nan))),
    (CALL, "`queries` with 6 steps", lambda m: m(XS, queries=jnp.ones(5))),
    (CALL, "`queries` with NaN", lambda m: m(XS, queries=TS.at[0].set(jnp.nan))),
    (CALL, "without a single valid step", lambda m: m(XS, mask=~ONES)),
    (CALL, "`mask` with 6 steps", lambda m: m(XS, mask=ONES[:5])),
    (CALL, "got shape (6, 1)", lambda m: m(XS, mask=ONES[:, None])),
    (CALL, "needs `ts` when", lambda m: m(XS, state=m.init(XS[0]))),
    (CALL, "3.0 before 0.0", lambda m: m(XS, TS, state=m.init(XS[0], 3.0))),
    (CALL, "a state that is not finite", lambda m: grown(m)(XS)),
    (CALL, "3 by Increments", lambda m: with_drive(wj.Increments(time_channel=True))),
    (
        "CausalConvolution",
        "of 3 channels; got 2",
        lambda m: with_drive(wj.CausalConvolution(3, 2, 2, key=KEY)),
    ),
    ("model.weights(xs, ts, mask)", "nan at index (3, 1)", lambda m: m.weights(NAN)),
    ("model.final(xs, ts, mask)", "shape (0, 2)", lambda m: m.last(XS[:0])),
    ("model.read(state, time)", "shape (2,)", lambda m: m.last(XS, query=XS[0])),
    ("model.init(x, t)", "1 axes; got shape (6, 2)", lambda m: m.init(XS)),
    ("model.init(x, t)", "nan at index (1,)", lambda m: m.init(NAN[3])),
    ("model.init(x, t)", "3 channels", lambda m: m.init(jnp.ones(3))),
    ("model.init(x, t)", "`t` with NaN", lambda m: m.init(XS[0], jnp.nan)),
    ("model.init(x, t)", "scalar `t`; got shape (6,)", lambda m: m.init(XS[0], TS)),
    ("model.step(state, x, t)", "(3,)", lambda m: m.step(m.init(XS[0]), XS[:3, 0], 1)),
    (
        "model.step(state, x, t)",
        "1.0 before 0.5",
        lambda m: m.step(m.init(XS[0], 1.0), XS[1], 0.5),
    ),
    ("model.step(state, x, t)", "nan at", lambda m: m.step(m.init(XS[0]), NAN[3], 1)),
    (
        "model.step(state, x, t)",
        "`t` with NaN",
        lambda m: m.step(m.init(XS[0]), XS[1], jnp.nan),
    ),
    (FORECAST, "horizon=0", lambda m: wj.forecast(m, XS, 0)),
    (FORECAST, "2 axes; got shape (2,)", lambda m: wj.forecast(m, XS[0], 1)),
    (FORECAST, "8 steps", lambda m: wj.forecast(m, XS, 2, jnp.ones(7))),
    (FORECAST, "2.0 before 1.5", lambda m: wj.forecast(m, XS[:3], 3, BACK)),
    (
        FORECAST,
        "shape (3,) for observations of shape (2,)",
        lambda m: wj.forecast(forecaster(3), XS, 1),
    ),
    ("model.compact(xs, ts, mask)", "nan at index", lambda m: wj.forecast(m, NAN, 1)),
    (UNROLL, "forcing=1.5", lambda m: wj.unroll(m, XS, forcing=1.5, key=KEY)),
    (UNROLL, "forcing=-1", lambda m: wj.unroll(m, XS, forcing=-1, key=KEY)),
    (UNROLL, "forcing=nan", lambda m: wj.unroll(m, XS, forcing=jnp.nan, key=KEY)),
    (UNROLL, "forcing=0.5 and key=None", lambda m: wj.unroll(m, XS, forcing=0.5)),
    (UNROLL, "`forcing` with 5 steps", lambda m: wj.unroll(m, XS, forcing=ONES)),
    (UNROLL, "two steps; got shape (1, 2)", lambda m: wj.unroll(m, XS[:1], key=KEY)),
    (UNROLL, "nan at index (3, 1)", lambda m: wj.unroll(m, NAN, forcing=1)),
    (
        UNROLL,
        "to sample; got key=None",
        lambda m: wj.unroll(m, XS, forcing=1, sample=True),
    ),
    (UNROLL, "out of the finite numbers", lambda m: wj.unroll(grown(m), XS, forcing=1)),
]
TYPE_ERRORS = [
    (CALL, "dtype int32", lambda m: m(jnp.ones((6, 2), int))),
    (CALL, "dtype complex64", lambda m: m(XS + 0j)),
    (CALL, "got list", lambda m: m([[0.0, 1.0]])),
    (CALL, "got NoneType", lambda m: m(None)),
    (CALL, "dtype int32", lambda m: m(XS, jnp.arange(6))),
    (CALL, "dtype float32", lambda m: m(XS, mask=jnp.ones(6))),
    (FORECAST, "1.5 of type float", lambda m: wj.forecast(m, XS, 1.5)),
    (FORECAST, "True of type bool", lambda m: wj.forecast(m, XS, True)),
    (UNROLL, "array of int32", lambda m: wj.unroll(m, XS, forcing=jnp.arange(5))),
    (UNROLL, "'often'", lambda m: wj.unroll(m, XS, forcing="often")),
]
# What the values alone tell, found while compiled code runs.
TRACED_ERRORS = [
    (CALL, "`xs` with NaN", lambda m: m(NAN)),
    (CALL, "never decrease", lambda m: m(XS, BACK)),
    (CALL, "`queries` with NaN", lambda m: m(XS, queries=TS * jnp.nan)),
    (CALL, "without a single valid step", lambda m: m(XS, mask=~ONES)),
    (CALL, "a state that is not finite", lambda m: grown(m)(XS)),
    ("model.final(xs, ts, mask)", "`xs` with NaN", lambda m: m.last(NAN)),
    (FORECAST, "never decrease", lambda m: wj.forecast(m, XS[:3], 3, BACK)),
    (UNROLL, "`xs` with NaN", lambda m: wj.unroll(m, NAN, forcing=1)),
    (UNROLL, "0 <= forcing <= 1", lambda m: wj.unroll(m, XS, None, XS[0, 0] + 9, KEY)),
]


@pytest.mark.parametrize("call, fragment, act", VALUE_ERRORS)
def test_bad_values_and_shapes_are_refused(call, fragment, act, unchecked):
    assert_refused(act, ValueError, call, fragment)


@pytest.mark.parametrize("call, fragment, act", TYPE_ERRORS)
def test_bad_types_are_refused(call, fragment, act, unchecked):
    assert_refused(act, TypeError, call, fragment)


@pytest.mark.parametrize("call, fragment, act", TRACED_ERRORS)
def test_bad_values_are_found_inside_jit(call, fragment, act, unchecked):
    assert_refused(eqx.filter_jit(act), eqx.EquinoxRuntimeError, call, fragment)
