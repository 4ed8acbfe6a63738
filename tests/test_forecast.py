"""Roll-outs in which a model feeds on its own predictions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
import warp_jax._roll.segments as segments

from .helpers import assert_close, assert_same, joined, make_model, make_sequence
from .oracle import Choices


CONTEXT, HORIZON = 4, 3
jit = eqx.filter_jit
forecast, unroll = jit(wj.forecast), jit(wj.unroll)


def by_hand(model, xs, ts, horizon):
    """Forecasts in the plainest way: read, take the prediction for true, step."""
    state, outputs = model.init(xs[0], ts[0]), []
    for x, t in zip(xs[1:], ts[1:]):
        state = model.step(state, x, t)
    for t in ts[len(xs) :]:
        output = model.read(state, t)
        state = model.step(state, wj.point(output), t)
        outputs.append(joined(output))
    return jnp.stack(outputs)


@pytest.mark.parametrize(
    "choices",
    (
        Choices("low_rank", time_channel=True, decoder="gaussian"),
        Choices("dense", drive="causal", decoder="observing"),
    ),
)
def test_a_forecast_feeds_its_predictions_back(choices, precision):
    model, (xs, ts) = make_model(choices), make_sequence(CONTEXT + HORIZON)
    xs = xs[:CONTEXT]
    got = joined(forecast(model, xs, HORIZON, ts))
    assert_close(got, jit(by_hand)(model, xs, ts, HORIZON))


def test_a_forecast_spreads_its_times_over_context_and_horizon(double):
    model, (xs, _) = make_model(Choices(time_channel=True)), make_sequence(CONTEXT)
    even = jnp.linspace(0, 1, CONTEXT + HORIZON)
    assert_same(forecast(model, xs, HORIZON), forecast(model, xs, HORIZON, even))


def test_a_forecast_is_a_free_run_after_the_context(double):
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(7)
    # Entry t feeds xs[t + 1], so a context of four steps forces three times.
    forced = jnp.arange(6) < CONTEXT - 1
    free = unroll(model, xs, ts, forced)
    assert_close(free[CONTEXT - 1 :], forecast(model, xs[:CONTEXT], HORIZON, ts))


@pytest.mark.parametrize("forcing", (1, 1.0, True, jnp.ones(6, bool), jnp.array(1.0)))
def test_a_forced_run_reads_the_next_times(forcing, double):
    choices = Choices("low_rank", drive="causal", decoder="observing")
    model, (xs, ts) = make_model(choices), make_sequence(7)
    want = jit(model)(xs, ts, jnp.append(ts[1:], 9.0))[:-1]
    # Under jit, where all but the model are constants.
    assert_close(jit(lambda m: wj.unroll(m, xs, ts, forcing))(model), want)


@pytest.mark.parametrize("forcing", (0, 0.0, False, jnp.zeros(6, bool)))
def test_a_free_run_knows_the_first_observation_alone(forcing, double):
    model, (xs, ts) = make_model(), make_sequence(7)
    free = wj.unroll(model, xs, ts, forcing)
    assert_close(free, jit(by_hand)(model, xs[:1], ts, 6))


def test_the_key_alone_decides_what_is_forced(getkey, double):
    model, (xs, ts) = make_model(), make_sequence(12)
    key, other = getkey(), getkey()
    first = unroll(model, xs, ts, 0.5, key)
    assert_same(unroll(model, xs, ts, 0.5, key), first)
    assert not np.allclose(unroll(model, xs, ts, 0.5, other), first)
    # With a key, certainty still needs no chance.
    assert_same(unroll(model, xs, ts, 1.0, key), unroll(model, xs, ts, 1.0, other))
    assert_close(unroll(model, xs, ts, 1.0, key), wj.unroll(model, xs, ts, 1))


def test_a_probability_is_how_often_the_truth_is_fed(getkey, double):
    """The first prediction after a step tells whether the truth was fed at it."""
    model, (xs, ts) = make_model(Choices(decoder="observing")), make_sequence(3)
    options = [wj.unroll(model, xs, ts, jnp.array([f, True]))[1] for f in (False, True)]
    keys = jr.split(getkey(), 4000)
    second = jit(jax.vmap(lambda key: wj.unroll(model, xs, ts, 0.3, key)[1]))(keys)
    fed = np.all(np.isclose(second, options[1]), axis=1)
    own = np.all(np.isclose(second, options[0]), axis=1)
    assert np.all(fed ^ own)
    # Five standard deviations.
    assert abs(fed.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)


def test_a_traced_probability_is_a_probability(getkey, double):
    model, (xs, ts), key = make_model(), make_sequence(7), getkey()
    traced = jit(lambda p: wj.unroll(model, xs, ts, p, key))
    assert_close(traced(jnp.array(0.5)), wj.unroll(model, xs, ts, 0.5, key))
    with pytest.raises(eqx.EquinoxRuntimeError, match="0 <= forcing <= 1"):
        traced(jnp.array(1.5))


def test_without_a_key_the_mean_is_fed_back(double):
    model = make_model(Choices(decoder="gaussian"))
    xs, ts = make_sequence(CONTEXT + HORIZON)
    mean = forecast(model, xs[:CONTEXT], HORIZON, ts)
    assert isinstance(mean, wj.Gaussian)
    certain = eqx.tree_at(lambda m: m.decoder, model, MeanDecoder(model.decoder))
    assert_close(mean.mean, forecast(certain, xs[:CONTEXT], HORIZON, ts))


def test_with_a_key_a_path_is_sampled(getkey, double):
    model = make_model(Choices(decoder="gaussian"))
    xs, ts = make_sequence(CONTEXT + HORIZON)
    context, key = xs[:CONTEXT], getkey()
    path = forecast(model, context, HORIZON, ts, key)
    assert path.shape == (HORIZON, 2)
    assert_same(forecast(model, context, HORIZON, ts, key), path)

    @jit
    def paths(keys):
        run = lambda key: wj.forecast(model, context, HORIZON, ts, key)  # noqa: E731
        return jax.vmap(run)(keys)

    first = paths(jr.split(getkey(), 4000))[:, 0]
    told = forecast(model, context, HORIZON, ts)
    assert np.allclose(
        first.mean(0), told.mean[0], atol=6 * told.std[0].max() / 4000**0.5
    )
    assert np.allclose(first.std(0), told.std[0], rtol=0.06)


def test_a_path_feeds_back_what_was_drawn(getkey, double):
    model = make_model(Choices(decoder="gaussian"))
    xs, ts = make_sequence(CONTEXT + HORIZON)
    path = forecast(model, xs[:CONTEXT], HORIZON, ts, getkey())
    # Fed as observations, the drawn values must lead to the same states.
    again = jnp.concatenate([xs[:CONTEXT], path])
    told = jit(model)(again[:-1], ts[:-1], ts[1:])
    errors = (path - told.mean[CONTEXT - 1 :]) / told.std[CONTEXT - 1 :]
    keys = jr.split(jr.fold_in(jr.key(2506), 0), HORIZON)
    noise = jax.vmap(lambda key: jr.normal(key, (2,)))(keys)
    assert_close(errors, noise)


def test_an_unrolled_distribution_is_fed_back_by_its_mean_or_a_sample(getkey, double):
    model, (xs, ts) = make_model(Choices(decoder="gaussian")), make_sequence(7)
    key = getkey()
    mean = wj.unroll(model, xs, ts, 0)
    sampled = wj.unroll(model, xs, ts, 0, key, sample=True)
    assert_same(wj.unroll(model, xs, ts, 0, key, sample=True), sampled)
    assert_close((mean.mean[0], mean.std[0]), (sampled.mean[0], sampled.std[0]))
    assert not np.any(np.isclose(mean.mean[1:], sampled.mean[1:]))
    # Where the truth is fed, there is nothing to sample.
    forced = [wj.unroll(model, xs, ts, 1, key, sample=s) for s in (True, False)]
    assert_close(*forced)


def test_forecasts_and_unrolls_are_differentiable(precision):
    model, (xs, ts) = make_model(), make_sequence(5)

    @jit
    def slopes(model):
        def loss(model):
            future = wj.forecast(model, xs[:3], 2, ts)
            return jnp.sum(future**2) + jnp.sum(wj.unroll(model, xs, ts, 0) ** 2)

        return eqx.filter_grad(loss)(model)

    leaves = jax.tree.leaves(slopes(model))
    assert leaves and all(np.all(np.isfinite(s)) and np.any(s) for s in leaves)


@pytest.mark.parametrize(
    "transition",
    (
        "subspace_spectral",
        *(pytest.param(a, marks=pytest.mark.slow) for a in ("dense", "low_rank")),
    ),
)
def test_long_rollouts_are_made_again_and_change_nothing(
    transition, monkeypatch, getkey, double
):
    model, (xs, ts) = make_model(Choices(transition)), make_sequence(12)
    key = getkey()

    def told():
        # A new function each time, so that what is kept is read anew.
        @jit
        def both(model, xs):
            def loss(arguments):
                model, xs = arguments
                future = wj.forecast(model, xs[:5], 7, ts)
                outputs = jnp.concatenate([wj.unroll(model, xs, ts, 0.5, key), future])
                return jnp.mean((outputs + 1) ** 2), outputs

            return eqx.filter_grad(loss, has_aux=True)((model, xs))

        return both(model, xs)

    whole = told()
    monkeypatch.setattr(segments, "KEPT", 10)
    # Neither the 11 steps of the one nor the 7 of the other are a multiple.
    assert segments.segment_for(11, 14) == 4 and segments.segment_for(7, 14) == 3
    assert_close(told(), whole)


class MeanDecoder(wj.AbstractDecoder):
    """Reads the mean of another decoder's distribution."""

    decoder: wj.AbstractDecoder
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder):
        self.decoder = decoder
        self.state_size, self.out_size = decoder.state_size, decoder.out_size

    def __call__(self, state, coordinate):
        return self.decoder(state, coordinate).mean
