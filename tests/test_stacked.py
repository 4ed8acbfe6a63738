"""Stacks of layers: their numbers and gradients, streams, padding, and training."""

# Wrong types are among what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj

from . import oracle
from .helpers import (
    assert_close,
    assert_refused,
    assert_same,
    make_model,
    make_sequence,
    named_arrays,
    perturbed,
    x64,
)
from .oracle import Choices


jit = eqx.filter_jit
TWO = Choices("subspace_spectral", time_channel=True), Choices("low_rank", "learnt")
THREE = TWO[0], Choices("dense", "learnt", "causal"), TWO[1]


def make_stack(choices=TWO):
    """Returns a stack of two features, as wide as the other tests' models take."""
    *lower, top = (make_model(choice, seed=i) for i, choice in enumerate(choices))
    with x64(False):
        embed = perturbed(eqx.nn.Linear(2, 2, key=jr.key(0)), 5)
        layers = [wj.StackedLayer(model, 2, key=jr.key(1)) for model in lower]
        # The models are as the other tests have them, off their initial values already.
        for i, layer in enumerate(layers):
            norm, mix = perturbed((layer.norm, layer.mix), 6 + i)
            layer = eqx.tree_at(lambda layer: layer.norm, layer, norm)
            layers[i] = eqx.tree_at(lambda layer: layer.mix, layer, mix)
    stack = wj.Stacked(embed, layers, top)
    weights, rest = eqx.partition(stack, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf.astype(float), weights), rest)


def by_hand(w, xs, ts, mask, choices):
    """Takes a sequence through a stack layer by layer, in NumPy."""

    # Padding repeats the latest features, which nothing reads.
    valid = np.maximum(np.cumsum(mask) - 1, 0)
    hs = (xs[mask] @ w[".embed.weight"].T + w[".embed.bias"])[valid]
    for i, choice in enumerate(choices[:-1]):
        place = f".layers[{i}]"
        centred = hs - np.mean(hs, axis=1, keepdims=True)
        deviation = np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5)
        seen = centred / deviation * w[f"{place}.norm.weight"] + w[f"{place}.norm.bias"]
        model = oracle.within(w, f"{place}.model")
        ys = oracle.run(choice, model, seen, ts, mask=mask)[1]
        # The GELU of the tanh formula, which is what jax.nn has by default.
        inner = np.sqrt(2 / np.pi) * (ys + 0.044715 * ys**3)
        mixed = (ys * (1 + np.tanh(inner)) / 2) @ w[f"{place}.mix.weight"].T
        a, b = np.split(mixed + w[f"{place}.mix.bias"], 2, axis=1)
        hs = hs + a / (1 + np.exp(-b))
    return oracle.run(choices[-1], oracle.within(w, ".model"), hs, ts, mask=mask)[1]


@pytest.mark.parametrize("choices, holes", ((TWO, (0, 3)), (THREE, ())), ids=("2", "3"))
def test_a_stack_is_its_layers_in_a_row(choices, holes, precision):
    stack, (xs, ts) = make_stack(choices), make_sequence(5)
    mask = np.isin(np.arange(5), holes, invert=True)
    dirty = jnp.where(mask[:, None], xs, jnp.nan)

    @jit
    def everything(stack, xs, ts):
        def loss(arguments):
            stack, xs, ts = arguments
            outputs = stack(xs, ts, mask=jnp.asarray(mask))
            return jnp.mean((outputs + 1) ** 2), outputs

        return eqx.filter_grad(loss, has_aux=True)((stack, xs, ts))

    (slope, *slopes), outputs = everything(stack, dirty, ts)
    sequence = {"xs": np.asarray(xs, np.float64), "ts": np.asarray(ts, np.float64)}

    def in_numpy(w):
        return by_hand(w, w["xs"], w["ts"], mask, choices)

    w = named_arrays(stack) | sequence
    assert_close(outputs, in_numpy(w))
    want = oracle.gradient(lambda w: np.mean((in_numpy(w) + 1) ** 2), w)
    assert_close(
        named_arrays(slope) | dict(zip(sequence, slopes)), want, "gradient in "
    )
    assert all(np.any(array) for array in want.values())
    assert not np.any(want["xs"][~mask])


def streamed(stack, state, xs, ts):
    def step(state, inputs):
        state = stack.step(state, *inputs)
        return state, stack.read(state, state.t)

    return lax.scan(step, state, (xs, ts))


def test_a_stack_streams_layer_by_layer(double):
    """In one roll, step by step and in two parts, the same numbers and gradients."""
    stack, (xs, ts) = make_stack(), make_sequence(7)

    def whole(stack, xs, ts):
        return stack(xs, ts), stack.final(xs, ts)

    def by_steps(stack, xs, ts):
        start = stack.init(xs[0], ts[0])
        last, outputs = streamed(stack, start, xs[1:], ts[1:])
        return jnp.concatenate([stack.read(start, ts[0])[None], outputs]), last

    def in_two(stack, xs, ts):
        middle = stack.final(xs[:3], ts[:3])
        first, second = stack(xs[:3], ts[:3]), stack(xs[3:], ts[3:], state=middle)
        return jnp.concatenate([first, second]), stack.final(
            xs[3:], ts[3:], state=middle
        )

    @jit
    def told(way, *arguments):
        def loss(arguments):
            outputs, last = way(*arguments)
            kept = sum(jnp.mean((own.theta + 1) ** 2) for own in last.hidden)
            return jnp.mean((outputs + 1) ** 2) + kept, (outputs, last)

        return eqx.filter_grad(loss, has_aux=True)(arguments)

    want = told(whole, stack, xs, ts)
    for way in (by_steps, in_two):
        assert_close(told(way, stack, xs, ts), want, way.__name__)
    slopes, (_, last) = want
    assert all(np.any(array) for array in named_arrays(slopes).values())
    assert len(last.hidden) == 2
    assert_same(jnp.asarray(last.x), xs[-1])


def test_padding_changes_nothing_in_a_stack(double):
    stack, (xs, ts) = make_stack(), make_sequence(7)
    mask = jnp.array([0, 1, 1, 0, 1, 1, 0], bool)
    dirty = jnp.where(mask[:, None], xs, jnp.nan), jnp.where(mask, ts, jnp.nan)

    def both(xs, ts, mask=None):
        def loss(arguments):
            stack, xs, ts = arguments
            outputs, state = stack.run(xs, ts, mask=mask)
            # Of padding the outputs are read as well, and count for nothing.
            error = wj.mse(outputs, jnp.ones_like(outputs), mask)
            return error + jnp.sum(stack.read(state, state.t) ** 2), state

        return eqx.filter_grad(loss, has_aux=True)((stack, xs, ts))

    (slope, *slopes), state = jit(both)(*dirty, mask)
    (want_slope, *want_slopes), want = jit(both)(xs[mask], ts[mask])
    seen = [array[mask] for array in slopes]
    assert_close((slope, seen, state), (want_slope, want_slopes, want))
    assert not any(np.any(array[~mask]) for array in slopes)
    # A second part that begins with padding still sees the first.
    first, second = (
        [array[part] for array in dirty] for part in (slice(3), slice(3, 7))
    )
    middle = jit(stack.final)(*first, mask=mask[:3])
    end = jit(stack.final)(*second, mask=mask[3:], state=middle)
    assert_close(end, state)


def test_a_stack_forecasts_pools_and_hands_keys_on(double):
    stack, (xs, ts) = make_stack(), make_sequence(6)
    state, outputs = stack.init(xs[0], ts[0]), []
    for i in range(1, 6):
        outputs.append(stack.read(state, ts[i]))
        state = stack.step(state, xs[i] if i < 3 else outputs[-1], ts[i])
    ahead = jit(lambda stack: wj.forecast(stack, xs[:3], 3, ts))(stack)
    assert_close(ahead, jnp.stack(outputs[2:]))
    pooled = jit(wj.Pooled(stack, 2))(xs, ts)
    assert_close(pooled, jnp.mean(jit(stack)(xs, ts)[jnp.array([2, 5])], axis=0))
    inner = stack.layers[0].model.transition
    noisy = eqx.tree_at(
        lambda s: s.layers[0].model.transition, stack, wj.ModeDropout(inner, 0.5)
    )
    assert_close(jit(noisy)(xs, ts), jit(stack)(xs, ts))
    key = jr.key(1)
    state = noisy.init(xs[0], ts[0], key=key)
    assert np.count_nonzero(state.hidden[0].hidden.keep) < 4
    _, want = streamed(noisy, state, xs[1:], ts[1:])
    assert_close(jit(noisy)(xs, ts, key=key)[1:], want)


def test_no_layer_sees_the_future(double):
    stack, (xs, ts) = make_stack(), make_sequence(5)
    slopes = jit(jax.jacrev(lambda xs: stack(xs, ts)))(xs)
    influence = np.sum(np.abs(slopes), axis=(1, 3))
    assert not np.any(np.triu(influence, 1))
    # The top starts at a learnt state, whatever comes first.
    assert np.all(influence[1:][np.tril_indices(4, 1, 5)])


def trained_stack(seed, width=8):
    """Returns a stack of two WARPs as its parts start, that classifies two frequencies."""
    keys = iter(jr.split(jr.key(seed), 12))

    def warp(outs):
        network = eqx.nn.MLP(1, outs, 16, 1, jax.nn.silu, key=next(keys))
        decoder = wj.NetworkDecoder(network)
        modes = wj.SpectralTransition(16, width, length=32, key=next(keys))
        return wj.WARP(
            decoder=decoder,
            transition=wj.SubspaceTransition(decoder.state_size, modes, key=next(keys)),
            initial=wj.LearntInitial(decoder.flatten(network)),
        )

    layer = wj.StackedLayer(warp(width), width, key=next(keys))
    return wj.Stacked(eqx.nn.Linear(1, width, key=next(keys)), [layer], warp(2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_two_layers_train_stably(seed):
    """They tell two frequencies apart at a rate of 3e-3, and no loss is far above."""
    key = jr.key(100 + seed)
    phase_key, noise_key = jr.split(key)
    phases = jr.uniform(phase_key, (64,), maxval=2 * jnp.pi)
    labels = jnp.arange(64) % 2
    angles = (3.0 + 2.0 * labels)[:, None] * jnp.linspace(0, 2 * jnp.pi, 32)[None]
    xs = jnp.sin(angles + phases[:, None])[..., None]
    xs = xs + 0.1 * jr.normal(noise_key, xs.shape)

    def loss(model, batch, key):
        xs, labels = batch
        logits = jax.vmap(lambda xs: model.last(xs))(xs)
        return jnp.mean(jax.vmap(wj.cross_entropy)(logits, labels))

    batches = lambda step: (xs, labels)  # noqa: E731
    _, history = wj.fit(
        trained_stack(seed),
        loss,
        batches,
        optax.adam(3e-3),
        steps=300,
        key=key,
        report=None,
    )
    losses = np.asarray(history.loss)
    assert np.all(np.isfinite(losses)) and np.max(losses) < 2
    assert np.mean(losses[-20:]) < 0.2


XS = jnp.ones((1, 2))
LAYER, STACKED = "StackedLayer(model, width)", "Stacked(embed, layers, model)"


@pytest.mark.parametrize(
    "kind, call, fragment, act",
    (
        (TypeError, LAYER, "got str", lambda m: wj.StackedLayer("m", 2, key=jr.key(0))),
        (ValueError, LAYER, "width=0", lambda m: wj.StackedLayer(m, 0, key=jr.key(0))),
        (TypeError, STACKED, "got 3", lambda m: wj.Stacked(3, make_stack().layers, m)),
        (ValueError, STACKED, "got none", lambda m: wj.Stacked(jnp.tanh, [], m)),
        (TypeError, STACKED, "got WARP", lambda m: wj.Stacked(jnp.tanh, [m], m)),
        (
            TypeError,
            STACKED,
            "got Pooled",
            lambda m: wj.Stacked(jnp.tanh, make_stack().layers, wj.Pooled(m, 2)),
        ),
        (
            ValueError,
            LAYER,
            "features, 2",
            lambda m: make_stack().layers[0].add(jnp.ones(2), jnp.ones(3)),
        ),
        (
            ValueError,
            "stacked(xs, ts, queries, mask)",
            "2 axes",
            lambda m: make_stack()(jnp.ones(3)),
        ),
        (
            ValueError,
            "stacked(xs, ts, queries, mask)",
            "3 channels, which `embed` does not take",
            lambda m: make_stack()(jnp.ones((4, 3))),
        ),
        (
            ValueError,
            "stacked.init(x, t)",
            "3 channels, which `embed` does not take",
            lambda m: make_stack().init(jnp.ones(3)),
        ),
        (
            TypeError,
            "stacked.init(x, t)",
            "got list",
            lambda m: make_stack().init([1.0, 2.0]),
        ),
        (
            TypeError,
            "stacked.init(x, t)",
            "dtype int",
            lambda m: make_stack().init(jnp.arange(2)),
        ),
        (
            ValueError,
            "stacked.step(state, x, t)",
            "shape (2,), as in the state; got (1,)",
            lambda m: make_stack().step(make_stack().init(XS[0]), XS[0, :1], 1.0),
        ),
    ),
)
def test_bad_stacks_are_refused(kind, call, fragment, act):
    assert_refused(act, kind, call, fragment)
