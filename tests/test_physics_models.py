"""Models with a law in them: every roll, stream and forecast gives one set of numbers."""

import itertools

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same
from .laws import decoder_of, LAWS, make_law_model, make_state, physics


ROLLS = {
    "segments": wj.SequentialRoll(segment=3),
    "associative": wj.AssociativeRoll(),
    "convolution": wj.ConvolutionRoll(),
    "chunked": wj.ChunkedRoll(4),
}
TRANSITIONS = ("dense", "low_rank", "subspace_dense")


def product(second, every):
    """Returns all pairs of a law and one of `second`, all but every so many being slow."""
    pairs = itertools.product(LAWS, second)
    return [
        pytest.param(*pair, marks=[pytest.mark.slow] if i % every else [])
        for i, pair in enumerate(pairs)
    ]


TIMES = jnp.cumsum(jnp.array([0.1, 0.07, 0.13, 0.09, 0.11, 0.12, 0.08]))


def sequence(name):
    """Returns observations that a law can carry, and irregular times."""
    noise = np.random.default_rng(1)
    xs = 1 + 0.3 * noise.standard_normal((7, LAWS[name].inputs), np.float32)
    return jnp.asarray(xs, float), TIMES.astype(float)


def by_stepping(model, xs, ts, forced, known):
    """Reads the next observation after each step, which the truth follows, or not."""

    def step(state, inputs):
        x, t, forced = inputs
        y = model.read(state, t)
        own = jnp.concatenate([y, x[len(x) - known :]])
        return model.step(state, jnp.where(forced, x, own), t), y

    return lax.scan(step, model.init(xs[0], ts[0]), (xs[1:], ts[1:], forced))[1]


@pytest.mark.parametrize("name, transition", product(TRANSITIONS, 100))
def test_streams_forecasts_and_unrolls_agree(name, transition, double):
    model, (xs, ts) = make_law_model(name, transition), sequence(name)
    known = LAWS[name].inputs - LAWS[name].out
    forced = jnp.arange(6) < 3

    @eqx.filter_jit
    def told(model):
        future = xs[4:, len(xs[0]) - known :]
        return (
            by_stepping(model, xs, ts, forced, known),
            wj.unroll(model, xs, ts, forced, known=known),
            wj.forecast(model, xs[:4], 3, ts, known=future),
            model(xs, ts, jnp.append(ts[1:], 1.0)),
            model.last(xs, ts, 1.0),
        )

    stepped, unrolled, forecast, whole, last = told(model)
    assert_close(unrolled, stepped)
    assert_close(forecast, stepped[3:])
    # Up to the first prediction that was fed back.
    assert_close(whole[:4], stepped[:4])
    assert_close(last, whole[-1])
    # The parameters differ between steps: the law is read off a state that moves.
    final, first = model.final(xs, ts), model.init(xs[0], ts[0])
    moved = [decoder_of(model).parameters(s) for s in (first, final)]
    assert any(np.any(moved[0][n] != moved[1][n]) for n in moved[0])


@pytest.mark.parametrize("name, roll", product(ROLLS, 18))
def test_every_roll_gives_a_laws_numbers_and_gradients(name, roll, double):
    xs, ts = sequence(name)

    @eqx.filter_jit
    def told(model):
        def loss(model):
            ys = model(xs, ts, ts + 0.05)
            return jnp.mean((ys + 1) ** 2), ys

        return eqx.filter_grad(loss, has_aux=True)(model)

    slopes, ys = told(make_law_model(name, roll=wj.SequentialRoll()))
    other_slopes, other = told(make_law_model(name, roll=ROLLS[roll]))
    assert_close(other, ys)
    assert_close(jax.tree.leaves(other_slopes), jax.tree.leaves(slopes))


@pytest.mark.slow
def test_a_law_without_a_network_has_learnt_constants(double):
    one = physics.Constant(1.0, physics.Positive())
    model = wj.WARP(
        decoder=physics.OscillatorDecoder(None, m=one, k=one, c=one),
        transition=wj.DiagonalTransition(1, 2),
        initial=wj.LearntInitial(jnp.zeros(1)),
    )
    xs, ts = sequence("oscillator")
    slopes = eqx.filter_grad(lambda m: jnp.sum(wj.unroll(m, xs, ts, 1)))(model)
    of_constants = jax.tree.leaves(slopes.decoder)
    assert len(of_constants) == 3 and all(np.all(s != 0) for s in of_constants)
    compact, state = wj.WARP(
        decoder=model.decoder,
        transition=wj.SubspaceTransition(
            1, wj.DenseTransition(1, 2), key=jax.random.key(0)
        ),
        initial=model.initial,
    ).compact(xs, ts)
    assert_close(compact.read(state, 1.0), model.last(xs, ts, 1.0))


def test_bounds_hold_and_are_undone(precision):
    raw = jnp.array([-60.0, -3.0, 0.0, 0.4, 30.0, 80.0])
    kinds = {
        "free": (physics.Free("m", centre=3.0, scale=2.0), 3.0, -np.inf, np.inf),
        "positive": (physics.Positive("kg", scale=0.03), 0.03, 0.0, np.inf),
        "exponential": (physics.Exponential(scale=5.0), 5.0, 0.0, np.inf),
        "interval": (physics.Interval(-1.0, 3.0), 1.0, -1.0, 3.0),
    }
    for kind, middle, low, high in kinds.values():
        values = kind(raw)
        assert_close(kind(jnp.zeros(())), np.array(middle))
        assert np.all(np.diff(values) >= 0) and np.all(np.isfinite(values))
        assert np.all((values >= low) & (values <= high))
        if not np.isfinite(high) and np.isfinite(low):
            assert np.all(values > 0)
        inner = raw[1:4]
        assert_close(kind.inverse(kind(inner)), inner)
        assert_close(physics.Constant(kind(inner), kind)(raw[:0]), kind(inner))
        assert all(np.isfinite(jax.grad(kind)(r)) for r in raw)
    big = jnp.array(1000.0)
    assert_close(physics.Positive().inverse(physics.Positive()(big)), big)


def test_parameters_are_read_by_name_and_unit(precision):
    decoder = physics.ODEDecoder(
        wj.NetworkDecoder(eqx.nn.Linear(1, 7, key=jax.random.key(0))),
        lambda t, y, p: p["a"] * y + p["b"] @ y,
        size=2,
        parameters={
            "b": physics.Free("1/s", shape=(2, 2)),
            "a": physics.Positive("1/s", shape=(2,)),
            "z": 3.0,
            "c": physics.Free("m"),
        },
    )
    state = make_state(decoder, (1.0, 2.0))
    raw = np.asarray(decoder.law.decoder(state, jnp.zeros(1)))
    told = decoder.parameters(state)
    assert decoder.units == {"b": "1/s", "a": "1/s", "z": "", "c": "m"}
    assert list(told) == list(decoder.units)
    assert_close(told["b"], raw[:4].reshape(2, 2))
    assert_close(told["a"], 1e-6 + (1 - 1e-6) * np.log1p((np.e - 1) * np.exp(raw[4:6])))
    assert_close(told["c"], raw[6])
    assert told["z"] == 3.0


def test_by_default_a_general_law_gets_the_networks_numbers(double):
    network = eqx.nn.Linear(1, 3, key=jax.random.key(0))
    decoder = physics.ODEDecoder(network, lambda t, y, p: y * p["p"], size=3)
    state = make_state(decoder, (1.0, 2.0, 3.0), 0.0)
    rates = decoder.parameters(state)["p"]
    want = state.x * jnp.exp(0.3 * rates)
    np.testing.assert_allclose(decoder(state, jnp.array([0.3])), want, rtol=1e-7)


def test_a_skip_is_added_to_a_correction(precision):
    linear = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    network = wj.NetworkDecoder(eqx.nn.MLP(1, 2, 3, 1, key=jax.random.key(1)))
    skipped = wj.SkipDecoder(network, linear)
    state, at = make_state(skipped, (0.3, -0.7)), jnp.array([0.4])
    assert_close(skipped(state, at), network(state, at) + linear(state.x))
    still = wj.SkipDecoder(wj.ActivatedDecoder(network, wj.Gain(2)), linear)
    assert_same(still(state, at), linear(state.x) + 0)
    of_gain = eqx.filter_grad(lambda d: jnp.sum(d(state, at)))(still)
    assert_close(of_gain.decoder.activation.gain, network(state, at))


def test_a_skip_may_be_a_law_with_a_state_of_its_own(double):
    network = wj.NetworkDecoder(eqx.nn.MLP(1, 4, 3, 1, key=jax.random.key(1)))
    law = physics.OscillatorDecoder(eqx.nn.Linear(1, 3, key=jax.random.key(2)))
    both = wj.SkipDecoder(wj.GaussianDecoder(network), law)
    state, at = make_state(both, (0.3, -0.7)), jnp.array([0.4])
    parts = [
        wj.State(theta, state.x, state.t)
        for theta in jnp.split(state.theta, [network.state_size])
    ]
    told = both(state, at)
    alone = both.decoder(parts[0], at)
    assert_close(told.mean, alone.mean + law(parts[1], at))
    assert_close(told.std, alone.std)
    noise = np.random.default_rng(0)
    basis = jnp.asarray(noise.standard_normal((both.state_size, 3)))
    span = wj.Span(basis, state.theta)
    c = jnp.asarray(noise.standard_normal(3))
    spanned = both.spanned(span)
    got = spanned(wj.State(c, state.x, state.t), at)
    assert_close(got, both(wj.State(span.theta(c), state.x, state.t), at))
    assert spanned.footprint > 0 and both.footprint > 0


@pytest.mark.slow
def test_known_inputs_are_used_up_to_when_they_are_fed(double):
    """Neither outputs nor inputs of later times reach a prediction."""
    model, (xs, ts) = make_law_model("driven"), sequence("driven")

    @eqx.filter_jit
    def influence(xs):
        run = lambda xs: wj.unroll(model, xs, ts, jnp.arange(6) < 2, known=1)  # noqa: E731
        slopes = jax.jacrev(run)(xs)
        return jnp.sum(jnp.abs(slopes), axis=1)

    slopes = np.asarray(influence(xs))
    # Prediction i is that of xs[i + 1].
    outputs, inputs = slopes[:, :, :2].sum(-1), slopes[:, :, 2]
    assert not np.any(np.triu(inputs, 1)) and np.all(inputs[np.tril_indices(6)])
    assert not np.any(outputs[:, 3:]) and np.all(outputs[2:, :3])

    @eqx.filter_jit
    def of_known(known):
        run = lambda known: wj.forecast(model, xs[:4], 3, ts, known=known)  # noqa: E731
        return jnp.sum(jnp.abs(jax.jacrev(run)(known)), axis=(1, 3))

    forecast = np.asarray(of_known(xs[4:, 2:]))
    assert not np.any(np.triu(forecast)) and np.all(forecast[np.tril_indices(3, -1)])
