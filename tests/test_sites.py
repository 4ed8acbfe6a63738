"""Layers in a span, and the scan that makes their gradient as one product."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj
import warp_jax._roll.driven as driven
from warp_jax._decoder.spanned import SpannedNetwork

from .helpers import (
    assert_close,
    equations,
    joined,
    make_model,
    make_sequence,
    subprograms,
)
from .oracle import Choices
from .test_coefficients import Odd, streamed


COLUMNS, LAYERS = 5, 2
FORCED = jnp.arange(8) % 3 == 0


def make_layer(sizes, biased=True, scaled=True, shared=False, columns=COLUMNS):
    """Returns a layer whose weights lie in a span, and how many weights it is given."""
    keys = jr.split(jr.key(0), 3)
    space = wj.WeightSpace(eqx.nn.Linear(*sizes, use_bias=biased, key=keys[0]))
    basis = jr.normal(keys[1], (space.size, columns), float)
    origin = jr.normal(keys[2], (space.size,), float)
    span = wj.Span(basis, origin, scaled=scaled, shared=shared)
    return SpannedNetwork(space, span).parts, span.size


@pytest.mark.parametrize(
    "options",
    (
        {"biased": False, "scaled": False},
        {"scaled": False, "shared": True},
        {"scaled": True, "shared": False},
        {"biased": False, "scaled": True, "shared": True},
        {"scaled": True, "shared": True},
    ),
    ids=str,
)
@pytest.mark.parametrize(
    "sizes, columns", (((1, 4), 5), ((7, 2), 5), ((2, 7), 1), ((4, 4), 30)), ids=str
)
def test_a_held_layer_is_the_layer(sizes, columns, options, double):
    """In values, and in the gradient of what it is given, alone and in a batch."""
    layer, count = make_layer(sizes, **options, columns=columns)
    weights = jr.normal(jr.key(1), (3, count), float)
    vs = jr.normal(jr.key(2), (3, sizes[0]), float)
    prepared = layer.prepared()
    held = prepared.held()

    def both(call):
        def loss(weights, vs):
            return jnp.sum(jnp.sin(jax.vmap(call)(weights, vs)))

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(weights, vs)

    assert_close(both(held), both(layer))
    assert_close(both(prepared), both(layer))
    assert_close(held(weights[0], vs[0]), layer(weights[0], vs[0]))


def test_a_held_layer_has_no_gradient_of_its_own(double):
    layer, count = make_layer((3, 4))
    weights, v = jnp.ones(count), jnp.ones(3)
    slopes = eqx.filter_grad(lambda layer: jnp.sum(layer.held()(weights, v)))(layer)
    assert all(not jnp.any(leaf) for leaf in jax.tree.leaves(slopes))


def plain(decoder, state, coordinate):
    return decoder(state, coordinate)


def twice(decoder, state, coordinate):
    return decoder(state, coordinate) - 0.5 * decoder(state, 2 * coordinate)


def mapped(decoder, state, coordinate):
    many = jnp.linspace(0.5, 1, 3)[:, None] * coordinate[None]
    return jnp.sum(jax.vmap(lambda at: decoder(state, at))(many), 0)


def in_a_loop(decoder, state, coordinate):
    def add(total, factor):
        return total + decoder(state, factor * coordinate), None

    first = jnp.zeros(decoder.out_size, coordinate.dtype)
    return lax.scan(add, first, jnp.linspace(0.5, 1, 3, dtype=coordinate.dtype))[0]


def in_a_branch(decoder, state, coordinate):
    none = lambda: jnp.zeros(decoder.out_size, coordinate.dtype)  # noqa: E731
    return lax.cond(coordinate[0] > 0.4, lambda: decoder(state, coordinate), none)


def in_time(decoder, state, coordinate):
    of = lambda coordinate: decoder(state, coordinate)  # noqa: E731
    return jax.jvp(of, (coordinate,), (jnp.ones_like(coordinate),))[1]


def compiled(decoder, state, coordinate):
    return jax.jit(
        lambda theta: decoder(eqx.tree_at(_theta, state, theta), coordinate)
    )(state.theta)


def made_again(decoder, state, coordinate):
    return eqx.filter_checkpoint(plain)(decoder, state, coordinate)


def _theta(state):
    return state.theta


WAYS = [
    *(pytest.param(way, id=way.__name__) for way in (plain, twice, mapped, in_time)),
    *(
        pytest.param(way, id=way.__name__, marks=pytest.mark.slow)
        for way in (in_a_loop, in_a_branch, compiled, made_again)
    ),
]


class Wrapped(wj.AbstractDecoder):
    """A decoder of one's own, which reads another one in some way."""

    decoder: wj.AbstractDecoder
    way: Callable = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder, way):
        self.decoder, self.way = decoder, way
        self.state_size, self.out_size = decoder.state_size, decoder.out_size

    def spanned(self, span):
        return Wrapped(self.decoder.spanned(span), self.way)

    def __call__(self, state, coordinate):
        return self.way(self.decoder, state, coordinate)


def stepped(model, xs, ts):
    return joined(streamed(model, xs, ts, FORCED))


def unrolled(model, xs, ts):
    return joined(wj.unroll(model, xs, ts, FORCED))


def slopes(run, model, batch, ts):
    """Returns what a batch comes to, and the gradient of all weights."""

    def loss(model):
        outputs = jax.vmap(lambda xs: run(model, xs, ts))(batch)
        return jnp.mean((outputs + 1) ** 2), outputs

    return eqx.filter_jit(eqx.filter_grad(loss, has_aux=True))(model)


@pytest.fixture
def sites(monkeypatch):
    """Returns how many sites each scan had, the transition among them."""
    counts, original = [], driven.scan_by_adjoint

    def spy(sites, *arguments):
        counts.append(len(sites))
        return original(sites, *arguments)

    monkeypatch.setattr(driven, "scan_by_adjoint", spy)
    return counts


@pytest.mark.parametrize("way", WAYS)
def test_a_decoder_may_read_its_network_in_any_way(way, sites, double):
    """Only calls that are one for each turn are taken out of the scan."""
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(9)
    model = eqx.tree_at(lambda m: m.decoder, model, Wrapped(model.decoder, way))
    batch = jnp.stack([xs, xs[::-1], 2 * xs])
    got = slopes(unrolled, model, batch, ts)
    assert_close(got, slopes(stepped, model, batch, ts))
    assert set(sites) == ({1 + LAYERS} if way is plain else set())


@pytest.mark.parametrize(
    "choices",
    (
        Choices("low_rank", "learnt", decoder="gaussian"),
        Choices("low_rank", "hypernetwork", decoder="observing"),
        Choices("subspace_dense", "learnt", decoder="tanh"),
        Choices("subspace_spectral", "thin"),
    ),
    ids=lambda choices: "-".join(choices[:2]),
)
def test_the_gradient_of_a_batch_is_that_of_plain_steps(choices, sites, double):
    """Of spans with an origin that is scaled or not, and shared or not."""
    model = make_model(choices)
    xs, ts = make_sequence(9)
    batch = jnp.stack([xs, xs[::-1], 2 * xs])
    got = slopes(unrolled, model, batch, ts)
    assert_close(got, slopes(stepped, model, batch, ts))
    assert set(sites) == {1 + LAYERS}


def test_weights_of_other_layers_stay_in_the_scan(sites, double):
    keys = jr.split(jr.key(0), 3)
    network = Odd(
        eqx.nn.Linear(1, 4, key=keys[0]),
        eqx.nn.LayerNorm(4),
        eqx.nn.Linear(4, 2, key=keys[1]),
    )
    decoder = wj.NetworkDecoder(network, in_size=1)
    like = make_model(Choices("low_rank"))
    transition = wj.LowRankTransition(decoder.state_size, 2, 3, key=keys[2], length=9)
    B = jr.normal(keys[2], transition.B.shape, float)
    model = wj.WARP(
        decoder=decoder,
        transition=eqx.tree_at(lambda t: t.B, transition, 0.3 * B),
        initial=wj.LearntInitial(decoder.flatten(network)),
        drive=like.drive,
    )
    xs, ts = make_sequence(9)
    got = slopes(unrolled, model, xs[None], ts)
    assert_close(got, slopes(stepped, model, xs[None], ts))
    assert set(sites) == {1 + LAYERS}


def test_no_turn_adds_to_the_gradient_of_the_directions(double):
    """Whatever a scan of the training step carries is smaller than these."""
    model, (xs, ts) = make_model(Choices("low_rank", "learnt")), make_sequence(9)
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(weights, run):
        return jnp.mean(run(eqx.combine(weights, rest), xs, ts) ** 2)

    def largest_carry(run):
        program = jax.make_jaxpr(jax.grad(lambda weights: loss(weights, run)))(weights)
        scans = [e for e in equations(program.jaxpr) if e.primitive.name == "scan"]
        # Of all that a turn gives, a scan hands on a carry as it is and stacks the rest.
        carries = [
            whole.aval.size
            for scan in scans
            for whole, turn in zip(scan.outvars, subprograms(scan)[0].outvars)
            if whole.aval.shape == turn.aval.shape
        ]
        return max(carries)

    assert isinstance(model.transition, wj.LowRankTransition)
    directions = model.transition.rank + model.transition.input_size
    layer = 4 * 2 * directions
    assert largest_carry(unrolled) < layer <= largest_carry(stepped)
