"""The steps of a batch as one axis: the same gradients in any order of transformations."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import warp_jax as wj
from warp_jax._roll import segments
from warp_jax._roll.segments import AT_ONCE, ENOUGH, FEW, read_in_turns, WORTH

from .helpers import assert_close, equations, make_model, make_sequence
from .oracle import Choices


MODELS = (
    pytest.param(Choices("dense", "learnt"), id="dense"),
    pytest.param(Choices("low_rank", "learnt"), id="low_rank"),
)


def called(model, xs):
    return model(xs)


def unrolled(model, xs):
    return wj.unroll(model, xs, forcing=jnp.arange(len(xs) - 1) % 3 == 0)


RUNS = (called, unrolled)


def make(choices, run, roll=wj.AutoRoll()):
    """Returns the loss of a sequence as a function of all weights, these, and a batch."""
    model = eqx.tree_at(lambda m: m.roll, make_model(choices), roll)
    xs, _ = make_sequence(9)
    batch = jnp.stack([xs, xs[::-1], 2 * xs])
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(weights, xs):
        return jnp.mean(
            (jax.tree.leaves(run(eqx.combine(weights, rest), xs))[0] + 1) ** 2
        )

    return loss, weights, batch


def of_all(loss, batch):
    return lambda weights: jnp.mean(jax.vmap(loss, (None, 0))(weights, batch))


def mean(gradients):
    return jax.tree.map(lambda array: jnp.mean(array, 0), gradients)


def gradient_of_batch(loss, weights, batch):
    return jax.grad(of_all(loss, batch))(weights)


def batch_of_gradients(loss, weights, batch):
    return mean(jax.vmap(jax.grad(loss), (None, 0))(weights, batch))


def gradient_of_compiled(loss, weights, batch):
    return gradient_of_batch(jax.jit(loss), weights, batch)


def gradient_of_checkpointed(loss, weights, batch):
    return gradient_of_batch(jax.checkpoint(loss), weights, batch)


def gradient_of_batches(loss, weights, batch):
    inner = jax.vmap(loss, (None, 0))
    return gradient_of_batch(inner, weights, jnp.stack([batch, batch]))


def gradients_of_models(loss, weights, batch):
    both = jax.tree.map(lambda array: jnp.stack([array, array]), weights)
    return mean(jax.vmap(jax.grad(of_all(loss, batch)))(both))


def gradient_of_models(loss, weights, batch):
    def each(weights):
        copies = jax.tree.map(lambda array: jnp.stack(len(batch) * [array]), weights)
        return jnp.mean(jax.vmap(loss)(copies, batch))

    return jax.grad(each)(weights)


def transposed(loss, weights, batch):
    linear = jax.linearize(of_all(loss, batch), weights)[1]
    return jax.linear_transpose(linear, weights)(jnp.ones(()))[0]


ORDERS = (
    gradient_of_batch,
    batch_of_gradients,
    gradient_of_compiled,
    gradient_of_checkpointed,
    gradient_of_batches,
    gradients_of_models,
    gradient_of_models,
    transposed,
)


@pytest.mark.parametrize(
    "run", (called, pytest.param(unrolled, marks=pytest.mark.slow))
)
@pytest.mark.parametrize("choices", MODELS)
def test_orders_of_transformations(choices, run, double):
    """However a batch and a gradient are nested, with steps as one axis or not."""
    loss, weights, batch = make(choices, run)
    alone = jax.jit(jax.grad(loss))
    want = mean(
        jax.tree.map(lambda *each: jnp.stack(each), *[alone(weights, x) for x in batch])
    )
    for order in ORDERS:
        got = jax.jit(order, static_argnums=0)(loss, weights, batch)
        assert_close(got, want)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("choices", MODELS)
def test_second_derivatives_of_a_batch(choices, run, double):
    loss, weights, batch = make(choices, run)
    keys = jr.split(jr.key(3), 100)
    leaves, structure = jax.tree.flatten(weights)
    leaves = [jr.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves)]
    way = jax.tree.unflatten(structure, leaves)

    def along(function):
        def slope(weights):
            dots = jax.tree.map(jnp.vdot, jax.grad(function)(weights), way)
            return sum(jax.tree.leaves(dots))

        return jax.grad(slope)

    got = jax.jit(along(of_all(loss, batch)))(weights)
    alone = jax.jit(lambda weights, xs: along(lambda w: loss(w, xs))(weights))
    each = [alone(weights, xs) for xs in batch]
    assert_close(got, mean(jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)))


@pytest.mark.parametrize("roll", (wj.SequentialRoll(), wj.ChunkedRoll(4)), ids=repr)
@pytest.mark.parametrize("run", RUNS)
def test_the_gradient_of_A_contracts_one_axis(run, roll):
    """And not time and batch: on a CPU that takes half as long again."""
    loss, weights, batch = make(Choices("dense", "learnt"), run, roll)
    program = jax.make_jaxpr(jax.grad(of_all(loss, batch)))(weights)
    A = weights.transition.A
    contracted = set()
    for equation in equations(program.jaxpr):
        product = equation.primitive.name == "dot_general"
        if product and equation.outvars[0].aval.shape == A.shape:
            (axes, _), _ = equation.params["dimension_numbers"]
            contracted.add(tuple(equation.invars[0].aval.shape[axis] for axis in axes))
    assert all(len(sizes) < 2 for sizes in contracted)
    sequences, length, _ = batch.shape
    assert any(sizes >= (sequences * (length - 1),) for sizes in contracted)


class Scaled(wj.AbstractDecoder):
    """A decoder of one's own, whose function holds what is differentiated."""

    decoder: wj.AbstractDecoder
    scale: Callable = eqx.field(static=True)
    state_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(self, decoder, scale):
        self.decoder, self.scale = decoder, scale
        self.state_size, self.out_size = decoder.state_size, decoder.out_size

    def __call__(self, state, coordinate):
        return self.scale(self.decoder(state, coordinate))


@pytest.mark.parametrize("choices", MODELS)
def test_a_decoder_may_hold_what_is_differentiated(choices, double):
    model, (xs, _) = make_model(choices), make_sequence(9)
    batch = jnp.stack([xs, 2 * xs])

    def loss(factor):
        decoder = Scaled(model.decoder, lambda y: factor * y)
        scaled = eqx.tree_at(lambda m: m.decoder, model, decoder)
        return jnp.mean(jax.vmap(scaled)(batch))

    want = jnp.mean(jax.vmap(model)(batch))
    assert_close(jax.jit(jax.grad(loss))(2.0), want)


@pytest.mark.parametrize("sequences", (1, 3))
@pytest.mark.parametrize("length", (1, 2, 3, 5, 17))
def test_few_steps_of_what_holds_much(length, sequences):
    """As of one wide layer, where there are fewer steps than turns."""
    steps = jnp.arange(1.0, length * sequences + 1)
    got = read_in_turns(jnp.square, steps, 2 * FEW, sequences, 4)
    assert_close(got, steps**2)


@pytest.mark.parametrize("enough", (1, 4))
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("choices", MODELS)
def test_readings_of_a_batch_in_turns(choices, run, enough, monkeypatch, double):
    loss, weights, batch = make(choices, run)
    want = jax.jit(gradient_of_batch, static_argnums=0)(loss, weights, batch)
    monkeypatch.setattr(segments, "AT_ONCE", 50)
    monkeypatch.setattr(segments, "ENOUGH", enough)
    loss, *_ = make(choices, run)
    got = jax.jit(gradient_of_batch, static_argnums=0)(loss, weights, batch)
    assert_close(got, want)


@pytest.mark.parametrize(
    "footprint, sequences, at_once",
    (
        (AT_ONCE // 2, 1, 2),
        (AT_ONCE // 2, 8, ENOUGH),
        (AT_ONCE // 2, 256, 512),
        (WORTH // 32, 1, 1),
        (WORTH // 32, 8, 32),
        (2 * WORTH, 8, 8),
    ),
)
def test_readings_of_a_batch_do_not_wait_for_what_they_share(
    footprint, sequences, at_once
):
    """A reading is a product with a matrix that is fetched for each turn."""

    def read(steps):
        return read_in_turns(jnp.sin, steps, footprint, sequences)

    program = jax.make_jaxpr(read)(jnp.ones(1024))
    read_at_once = {
        equation.invars[0].aval.shape
        for equation in equations(program.jaxpr)
        if equation.primitive.name == "sin"
    }
    assert read_at_once == {(at_once,)}
