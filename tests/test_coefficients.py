"""What is rolled in coefficients gives what the weights themselves give."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj
import warp_jax._roll.segments as segments
from warp_jax._decoder.spanned import SpannedNetwork
from warp_jax._roll import scan_driven

from .helpers import assert_close, joined, make_model, make_sequence, SINGLE_IS_SLOW
from .oracle import Choices, OUT


REDUCED = ("low_rank", "subspace_spectral", "subspace_dense")


class Quadratic(wj.AbstractDecoder):
    """A decoder that knows nothing of coefficients."""

    state_size: int = 14
    out_size: int = OUT

    def __call__(self, state, coordinate):
        return jnp.stack([jnp.sum(state.theta**2), state.theta[3] * coordinate[0]])


def streamed(model, xs, ts, forced):
    """Feeds a model its own predictions step by step, by its public methods alone."""

    def step(state, inputs):
        x, t, forced = inputs
        output = model.read(state, t)
        return model.step(state, jnp.where(forced, x, wj.point(output)), t), output

    state = model.init(xs[0], ts[0])
    return lax.scan(step, state, (xs[1:], ts[1:], forced))[1]


def same(first, second, model, *arguments):
    """Compares two functions of a model, and their gradients."""

    def both(function):
        def loss(model):
            output = joined(function(model, *arguments))
            return jnp.mean((output + 1) ** 2), output

        return eqx.filter_jit(eqx.filter_grad(loss, has_aux=True))(model)

    assert_close(both(first), both(second))


@pytest.mark.parametrize("decoder", ("network", "observing", "gaussian", "tanh"))
@pytest.mark.parametrize("transition", REDUCED)
def test_unrolling_is_stepping_and_reading(transition, decoder, double):
    model, (xs, ts) = make_model(Choices(transition, decoder=decoder)), make_sequence(9)
    forced = jnp.arange(8) % 3 == 0
    unrolled = lambda model, xs, ts: wj.unroll(model, xs, ts, forced)  # noqa: E731
    by_step = lambda model, xs, ts: streamed(model, xs, ts, forced)  # noqa: E731
    same(unrolled, by_step, model, xs, ts)


@pytest.mark.parametrize("segmented", (False, True))
@pytest.mark.parametrize(
    "drive", (pytest.param("increments", marks=pytest.mark.slow), "causal")
)
def test_unrolling_a_dense_model_is_stepping_and_reading(
    drive, segmented, monkeypatch, double
):
    """Its gradient of A is one product over all steps, in place of a sum."""
    if segmented:
        monkeypatch.setattr(segments, "KEPT", 0)
    taken = []

    def spy(*arguments):
        taken.append(arguments)
        return scan_driven(*arguments)

    monkeypatch.setattr("warp_jax._model.scan_driven", spy)
    choices = Choices("dense", drive=drive, decoder="gaussian")
    model, (xs, ts) = make_model(choices), make_sequence(9)
    forced = jnp.arange(8) % 3 == 0
    unrolled = lambda model, xs, ts: wj.unroll(model, xs, ts, forced)  # noqa: E731
    by_step = lambda model, xs, ts: streamed(model, xs, ts, forced)  # noqa: E731
    same(unrolled, by_step, model, xs, ts)
    assert taken
    batch = jnp.stack([xs, xs[::-1], 2 * xs])

    def each(run):
        return lambda model, xs, ts: jax.vmap(lambda xs: joined(run(model, xs, ts)))(xs)

    same(each(unrolled), each(by_step), model, batch, ts)


@SINGLE_IS_SLOW
@pytest.mark.parametrize("transition", REDUCED)
def test_a_forecast_is_stepping_and_reading(transition, precision):
    model, (xs, ts) = make_model(Choices(transition)), make_sequence(9)
    forced = jnp.arange(8) < 4
    forecast = lambda model, xs, ts: wj.forecast(model, xs[:5], 4, ts)  # noqa: E731
    by_step = lambda model, xs, ts: streamed(model, xs, ts, forced)[4:]  # noqa: E731
    same(forecast, by_step, model, xs, ts)


@pytest.mark.parametrize("transition", ("dense", *REDUCED))
def test_a_compact_model_gives_the_numbers_of_the_model(transition, double):
    model, (xs, ts) = make_model(Choices(transition)), make_sequence(7)
    compact, state = model.compact(xs[:4], ts[:4])
    full = model.final(xs[:4], ts[:4])
    for x, t in zip(xs[4:], ts[4:]):
        assert_close(compact.read(state, t), model.read(full, t))
        state, full = compact.step(state, x, t), model.step(full, x, t)
    assert (state.theta.size < full.theta.size) == (transition != "dense")


@pytest.mark.parametrize("transition", REDUCED)
def test_a_decoder_of_ones_own_reads_coefficients_too(transition, double):
    model, (xs, ts) = make_model(Choices(transition)), make_sequence(7)
    model = eqx.tree_at(lambda m: m.decoder, model, Quadratic())

    def by_weights(model, xs, ts):
        states = jax.vmap(wj.State)(model.weights(xs, ts), xs, ts)
        return jax.vmap(model.read)(states, ts)

    same(lambda model, xs, ts: model(xs, ts), by_weights, model, xs, ts)


class Odd(eqx.Module):
    """A network of layers with and without a bias, and of arrays that are no layer's."""

    first: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    second: eqx.nn.Linear

    def __call__(self, x):
        return self.second(jnp.sin(self.norm(self.first(x))))


@SINGLE_IS_SLOW
@pytest.mark.parametrize("columns", (1, 5, 40))
@pytest.mark.parametrize("scaled", (True, False))
def test_networks_in_a_span_are_networks(columns, scaled, precision):
    keys = jr.split(jr.key(0), 6)
    network = Odd(
        eqx.nn.Linear(4, 8, use_bias=False, key=keys[0]),
        eqx.nn.LayerNorm(8),
        eqx.nn.Linear(8, 2, key=keys[1]),
    )
    space = wj.WeightSpace(network)
    basis = jr.normal(keys[2], (space.size, columns), float)
    origin = jr.normal(keys[3], (space.size,), float)
    span = wj.Span(basis, origin, skip=2, scaled=scaled)
    c, x = jr.normal(keys[4], (span.size,), float), jr.normal(keys[5], (4,), float)

    def factored(span, c, x):
        return SpannedNetwork(space, span)(span.weigh(c))(x)

    def formed(span, c, x):
        return space.unflatten(span.theta(c))(x)

    def slopes(function):
        loss = lambda arguments: jnp.sum(jnp.sin(function(*arguments)))  # noqa: E731
        return eqx.filter_value_and_grad(loss)((span, c, x))

    assert_close(factored(span, c, x), formed(span, c, x))
    assert_close(slopes(factored), slopes(formed))
    footprint = SpannedNetwork(space, span).footprint
    assert 0 < footprint <= 8 * 4 + 8 + 8 + 2 * 9


def test_clipped_weights_are_not_coefficients():
    roll = wj.SequentialRoll(limit=1.0)
    model, (xs, ts) = make_model(Choices("subspace_dense"), roll=roll), make_sequence(4)
    with pytest.raises(ValueError, match="works on the weights"):
        model(xs, ts)
