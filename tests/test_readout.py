"""Weighed read-outs, and read-outs from both ends."""

# Wrong types are among what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_refused, joined, make_model, make_sequence
from .oracle import Choices
from .test_pooled import by_hand as pooled_by_hand, chosen, Leaky


jit = eqx.filter_jit


def softmax_mean(outputs):
    """Weighs rows by the exponential of their last entry, in NumPy."""
    outputs = np.asarray(outputs, np.float64)
    weights = np.exp(outputs[:, -1] - np.max(outputs[:, -1]))
    return (weights / np.sum(weights)) @ outputs[:, :-1]


@pytest.mark.parametrize("holes", ((), (0, 3, 8)), ids=("whole", "holes"))
@pytest.mark.parametrize("choices", (Choices(), Choices("subspace_spectral")))
def test_read_outs_are_weighed_by_their_own_scores(choices, holes, precision):
    model, (xs, ts) = make_model(choices), make_sequence(9)
    valid = [i for i in range(9) if i not in holes]
    mask = jnp.isin(jnp.arange(9), jnp.array(valid))
    dirty = jnp.where(mask[:, None], xs, jnp.nan)
    got = jit(wj.AttentionPooled(model, 3))(dirty, ts, mask=mask)
    outputs = jit(model)(dirty, ts, mask=mask)[jnp.array(chosen(valid, 3))]
    assert_close(got, softmax_mean(outputs))
    assert got.shape == (1,)
    mean = jit(wj.Pooled(model, 3))(dirty, ts, mask=mask)
    assert not np.allclose(got, mean[:1])


def test_weighing_has_the_gradient_of_its_formula(double):
    xs, ts = make_sequence(7)

    def weighed(keep):
        return jnp.sum(wj.AttentionPooled(Leaky(keep), 3)(xs, ts) ** 2)

    def formula(keep):
        state, outputs = np.asarray(xs[0]).astype(complex), []
        for i in range(7):
            state = np.asarray(xs[0], complex) if i == 0 else keep * state + xs[i]
            outputs.append(np.tanh(state) * (1 + np.asarray(ts[i])))
        read = np.stack([outputs[i] for i in chosen(list(range(7)), 3)])
        weights = np.exp(read[:, -1])
        return np.sum(((weights / np.sum(weights)) @ read[:, :-1]) ** 2)

    value, slope = jax.value_and_grad(weighed)(jnp.array(0.7))
    assert_close(value, formula(0.7 + 0j).real)
    assert_close(slope, formula(0.7 + 1e-100j).imag / 1e-100)


def test_equal_scores_give_the_mean(double):
    class Even(Leaky):
        def read(self, state, time):
            return jnp.append(super().read(state, time), 2.0)

    xs, ts = make_sequence(7)
    got = wj.AttentionPooled(Even(jnp.array(0.7)), 3)(xs, ts)
    assert_close(got, pooled_by_hand(Leaky(jnp.array(0.7)), xs, ts, list(range(7)), 3))


def test_weighing_needs_a_score_and_arrays():
    call, xs = "AttentionPooled(model, reads)", make_sequence(4)[0]

    class Single(Leaky):
        def read(self, state, time):
            return super().read(state, time)[:1]

    gaussian, single = make_model(Choices(decoder="gaussian")), Single(jnp.array(0.7))
    refused = (
        (
            ValueError,
            "got 1 in all",
            lambda m: wj.AttentionPooled(single, 2)(xs),
        ),
        (TypeError, "got a Gaussian", lambda m: wj.AttentionPooled(gaussian, 2)(xs)),
        (TypeError, "needs a model", lambda m: wj.AttentionPooled(jnp.tanh, 2)),
        (ValueError, "reads=0", lambda m: wj.AttentionPooled(m, 0)),
    )
    for kind, fragment, act in refused:
        assert_refused(act, kind, call, fragment)


def both_ways(forward, backward, xs, ts, query=None, keys=(None, None)):
    """Streams a sequence without padding forwards and backwards, and averages."""
    outputs = []
    back = ts[0] + ts[-1] - ts[::-1]
    for model, x, t, key in (
        (forward, xs, ts, keys[0]),
        (backward, xs[::-1], back, keys[1]),
    ):
        state = model.init(x[0], t[0], key=key)
        for i in range(1, len(x)):
            state = model.step(state, x[i], t[i])
        outputs.append(model.read(state, state.t if query is None else query))
    return (outputs[0] + outputs[1]) / 2


MODELS = Choices(time_channel=True), Choices("subspace_spectral", drive="causal")


@pytest.mark.parametrize("holes", ((), (0, 3, 8)), ids=("whole", "holes"))
@pytest.mark.parametrize("query", (None, 0.75))
def test_both_directions_are_streams_of_the_valid_steps(query, holes, double):
    forward, backward = (make_model(choices) for choices in MODELS)
    xs, ts = make_sequence(9)
    valid = jnp.array([i for i in range(9) if i not in holes])
    mask = jnp.isin(jnp.arange(9), valid)
    dirty = jnp.where(mask[:, None], xs, jnp.nan), jnp.where(mask, ts, jnp.nan)

    @jit
    def both(models, function):
        def loss(models):
            output = function(*models)
            return jnp.sum((output + 1) ** 2), output

        return eqx.filter_grad(loss, has_aux=True)(models)

    given = (query, mask) if holes else (query,)
    got = both((forward, backward), lambda *m: wj.Bidirectional(*m)(*dirty, *given))
    seen = xs[valid], ts[valid]
    want = both((forward, backward), lambda one, two: both_ways(one, two, *seen, query))
    assert_close(got, want)


def test_directions_may_be_pooled_and_have_keys_of_their_own(double):
    model, (xs, ts) = Leaky(jnp.array(0.7)), make_sequence(7)
    key = jr.key(3)
    got = wj.Bidirectional(model, model)(xs, ts, key=key)
    assert_close(got, both_ways(model, model, xs, ts, keys=jr.split(key)))
    pooled = wj.Pooled(model, 3)
    back = ts[0] + ts[-1] - ts[::-1]
    want = (pooled(xs, ts) + pooled(xs[::-1], back)) / 2
    assert_close(wj.Bidirectional(pooled, pooled)(xs, ts), want)


def test_two_gaussians_are_their_mixture(double):
    model = make_model(Choices("low_rank", decoder="gaussian"))
    xs, ts = make_sequence(5)
    one = jit(wj.Bidirectional(model, model))(xs, ts)
    there = jit(model.last)(xs, ts)
    back = jit(model.last)(xs[::-1], ts[0] + ts[-1] - ts[::-1])
    mean = (there.mean + back.mean) / 2
    second = (there.std**2 + there.mean**2 + back.std**2 + back.mean**2) / 2
    assert_close(joined(one), jnp.concatenate([mean, jnp.sqrt(second - mean**2)]))


def test_what_sees_the_future_is_not_stepped():
    model, (xs, ts) = make_model(), make_sequence(4)
    both = wj.Bidirectional(model, model)
    for reader in (both, wj.Pooled(model, 2)):
        with pytest.raises(TypeError, match=r"`forecast.*reads a sequence whole"):
            wj.forecast(reader, xs, 2)
        with pytest.raises(TypeError, match=r"`unroll.*reads a sequence whole"):
            wj.unroll(reader, xs, ts, 1)
    with pytest.raises(TypeError, match="got Bidirectional"):
        wj.Pooled(both, 2)
    with pytest.raises(TypeError, match=r"`Bidirectional.*got str"):
        wj.Bidirectional(model, "backward")
    with pytest.raises(ValueError, match="at least one step"):
        both(xs[:0])
