"""Half precision stores, single computes, double is asked for: nothing else converts."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj

from .helpers import (
    assert_close,
    assert_same,
    DRIVES,
    equations,
    joined,
    make_model,
    make_sequence,
    named_arrays,
    TRANSITIONS,
    x64,
)
from .oracle import Choices
from .test_stacked import make_stack


def stored(tree, dtype):
    """Returns a tree in half precision, and the same numbers in single precision."""
    half = wj.cast(tree, dtype)
    return half, wj.cast(half, jnp.float32)


def dtypes(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    leaves = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return {jnp.dtype(leaf.dtype) for leaf in leaves}


def everything(model, xs, ts):
    """Returns what a model can be asked for, in one tree."""
    state = model.init(xs[0], ts[0])
    streamed = [joined(model.read(state, ts[0]))]
    for x, t in zip(xs[1:3], ts[1:3]):
        state = model.step(state, x, t)
        streamed.append(joined(model.read(state, t)))
    return {
        "call": joined(model(xs, ts)),
        "weights": model.weights(xs, ts),
        "last": joined(model.last(xs, ts)),
        "final": model.final(xs[3:], ts[3:], state=state),
        "forecast": joined(wj.forecast(model, xs, 3, jnp.append(ts, ts[-1] + ts[:3]))),
        "streamed": streamed,
    }


@pytest.mark.parametrize(
    "choices, half",
    (
        (Choices("dense"), jnp.float16),
        pytest.param(
            Choices("low_rank", "thin", "signature", True, "observing", "sinusoidal"),
            jnp.bfloat16,
            marks=pytest.mark.slow,
        ),
    ),
)
def test_half_precision_stores_and_single_computes(choices, half):
    model, (xs, ts) = make_model(choices), make_sequence(8)
    (small, wide), (half_xs, wide_xs) = stored(model, half), stored(xs, half)
    assert dtypes(small) == {jnp.dtype(half)} and half_xs.dtype == half
    got = eqx.filter_jit(everything)(small, half_xs, ts)
    assert dtypes(got) == {jnp.dtype("float32")}
    assert_close(got, eqx.filter_jit(everything)(wide, wide_xs, ts))
    assert not np.allclose(got["call"], joined(model(xs, ts)), atol=1e-4)


@pytest.mark.parametrize("choices", (Choices("dense"), Choices("low_rank")))
def test_gradients_of_half_precision_are_those_of_single(choices):
    model, (xs, ts) = make_model(choices), make_sequence(8)
    small, wide = stored(model, jnp.bfloat16)

    @eqx.filter_jit
    def slopes(model):
        return eqx.filter_grad(lambda m: jnp.mean(joined(m(xs, ts)) ** 2))(model)

    got, want = slopes(small), slopes(wide)
    assert dtypes(got) == {jnp.dtype("bfloat16")}
    assert_same(got, wj.cast(want, jnp.bfloat16))


@pytest.mark.parametrize("transition", ("dense", "low_rank"))
def test_many_small_increments_add_up(transition):
    """In half precision a sum of hundredths stops at a few units."""
    steps = 3_000
    model = make_model(Choices(transition, initial="learnt", drive="values"))
    still = jax.tree.map(jnp.zeros_like, eqx.filter(model.transition, eqx.is_array))
    part = eqx.combine(still, model.transition)
    A = (lambda t: t.A, jnp.eye(14)) if transition == "dense" else (lambda t: t.a, 1.0)
    part = eqx.tree_at(*A[:1], part, jnp.asarray(A[1]))
    part = eqx.tree_at(lambda t: t.B, part, jnp.ones((14, 2)))
    model = eqx.tree_at(lambda m: m.transition, model, part)
    model = wj.cast(model, jnp.bfloat16)
    xs = jnp.full((steps, 2), 2.0**-8, jnp.bfloat16)
    ts = jnp.linspace(0, 1, steps)
    start = model.initial.theta.astype(jnp.float32)
    want = start + 2 * (steps - 1) * 2.0**-8
    assert_close(eqx.filter_jit(model.final)(xs, ts).theta, want)
    times = eqx.filter_jit(model)(xs[:300])
    assert len(np.unique(np.asarray(times)[:, 0])) == 300


def test_layers_and_readouts_take_half_precision():
    xs, ts = make_sequence(8)
    model = make_model(Choices("low_rank"))
    stack = make_stack((Choices("low_rank"), Choices("dense")))
    wholes: list[Any] = [wj.Pooled(model, 3), stack]
    for whole in wholes:
        small, wide = stored(whole, jnp.bfloat16)
        half_xs, wide_xs = stored(xs, jnp.bfloat16)
        got = eqx.filter_jit(small)(half_xs, ts)
        assert got.dtype == jnp.float32
        assert_close(got, eqx.filter_jit(wide)(wide_xs, ts))

    def stepped():
        small, half_xs = wj.cast((stack, xs), jnp.bfloat16)
        return small.step(small.init(half_xs[0], ts[0]), half_xs[1], ts[1])

    assert dtypes(jax.eval_shape(stepped)) == {jnp.dtype("float32")}


def test_a_training_keeps_its_small_updates():
    """The model stays in single precision, and is cast in its loss."""
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(8)
    seen = []

    def loss(model, batch, key):
        small = wj.cast(model, jnp.bfloat16)
        seen.append(dtypes(small))
        output = small(batch.astype(jnp.bfloat16), ts)
        return jnp.mean((output - 1) ** 2)

    options = {"steps": 40, "key": jr.key(0), "report": None}
    trained, history = wj.fit(model, loss, [xs], optax.adam(1e-3), **options)
    assert seen[0] == {jnp.dtype("bfloat16")}
    assert dtypes(trained) == {jnp.dtype("float32")}
    assert history.loss[-1] < 0.9 * history.loss[0]
    before, after = (named_arrays(m)[".transition.B"] for m in (model, trained))
    assert 0 < np.max(np.abs(after - before)) < 0.05


def floating(variables):
    found = {getattr(v.aval, "dtype", None) for v in variables}
    return {d for d in found if d is not None and jnp.issubdtype(d, jnp.floating)}


def mixed(jaxpr):
    """Yields every operation that makes one floating-point precision of another, however
    deep. What is made without any, as a mask of indices, counts for nothing.
    """
    for equation in equations(jaxpr):
        given, made = floating(equation.invars), floating(equation.outvars)
        if len(given | made) > 1:
            yield equation.primitive.name, given, made


def computed(choices, roll, dtype):
    """Returns all that mixes precisions in a model's outputs and their gradients."""
    with x64(True):
        model, (xs, ts) = make_model(choices, roll=roll), make_sequence(9)
        model, xs, ts = wj.cast((model, xs, ts), dtype)
        weights, rest = eqx.partition(model, eqx.is_inexact_array)

        def loss(weights):
            model = eqx.combine(weights, rest)
            parts = [joined(model(xs, ts)), joined(model.last(xs, ts))[None]]
            if roll == wj.AutoRoll() and choices.drive != "noncausal":
                parts.append(
                    joined(wj.forecast(model, xs, 3, jnp.append(ts, ts[:3] + 5)))
                )
            return sum(jnp.sum(part**2) for part in parts)

        slopes = jax.value_and_grad(loss)
        assert dtypes(jax.eval_shape(slopes, weights)) == {jnp.dtype(dtype)}
        return list(mixed(jax.make_jaxpr(slopes)(weights).jaxpr))


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_no_transition_leaves_the_precision(transition):
    assert computed(Choices(transition), wj.AutoRoll(), jnp.float32) == []


@pytest.mark.parametrize(
    "roll",
    (
        wj.SequentialRoll(segment=3),
        wj.ChunkedRoll(4),
        wj.AssociativeRoll(),
        wj.ConvolutionRoll(),
    ),
)
def test_no_roll_leaves_the_precision(roll):
    assert computed(Choices("low_rank"), roll, jnp.float32) == []


def test_double_precision_stays_double():
    assert computed(Choices("low_rank"), wj.AutoRoll(), jnp.float64) == []


def test_sums_have_the_precision_of_what_they_sum(double):
    model = wj.cast(wj.physics.least_squares(wj.physics.Steps(2)), jnp.float32)
    xs, ts = wj.cast(make_sequence(40), jnp.float32)
    given = jax.eval_shape(lambda: (model.final(xs, ts), model(xs, ts)))
    assert dtypes(given) == {jnp.dtype("float32")}


@pytest.mark.parametrize("drive", DRIVES)
def test_no_drive_leaves_the_precision(drive):
    kind, time_channel = drive
    choices = Choices("dense", "thin", kind, time_channel, "gaussian", "sinusoidal")
    assert computed(choices, wj.AutoRoll(), jnp.float32) == []


@pytest.mark.parametrize(
    "act",
    (
        lambda model, xs, ts: model(xs, ts),
        lambda model, xs, ts: model.last(xs, ts),
        lambda model, xs, ts: model.init(xs[0]),
        lambda model, xs, ts: wj.forecast(model, xs, 2),
    ),
)
def test_single_and_double_precision_do_not_mix(act, double):
    model, (xs, ts) = make_model(), make_sequence(5)
    single = wj.cast(model, jnp.float32)
    for mixed in ((single, xs, ts), (model, xs.astype(jnp.float32), ts)):
        with pytest.raises(
            TypeError, match="mixes precisions: a model with numbers of"
        ):
            act(*mixed)


def test_a_state_has_the_precision_of_what_follows(double):
    model, (xs, ts) = make_model(), make_sequence(5)
    state = model.init(xs[0], ts[0])
    single = wj.cast((model, xs, ts), jnp.float32)
    for act in (
        lambda model, xs, ts: model.step(state, xs[1], ts[1]),
        lambda model, xs, ts: model(xs[1:], ts[1:], state=state),
        lambda model, xs, ts: model.read(state, 0.5),
    ):
        with pytest.raises(TypeError, match="mixes precisions"):
            act(*single)


def test_a_cast_says_what_it_cannot_do():
    with pytest.raises(TypeError, match=r"`cast\(model, dtype\)`.*got int32"):
        wj.cast(make_model(), jnp.int32)
    with pytest.raises(TypeError, match="jax_enable_x64"):
        wj.cast(make_model(), "float64")
    tree = {"a": jnp.ones(2), "n": jnp.arange(2), "z": jnp.ones(2) + 0j, "f": jnp.tanh}
    got = wj.cast(tree, jnp.bfloat16)
    assert got["a"].dtype == jnp.bfloat16 and got["f"] is jnp.tanh
    assert (got["n"].dtype, got["z"].dtype) == (tree["n"].dtype, tree["z"].dtype)
