"""Training on streams, window after window, each from where the one before ended."""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj

from .helpers import (
    assert_close,
    assert_same,
    joined,
    make_model,
    make_network,
    make_sequence,
    named_arrays,
)
from .oracle import Choices, decode, drive, gradient, matrices, run
from .test_stacked import make_stack


STREAMS, STEPS, LENGTH = 3, 14, 4
PLAIN = Choices("low_rank"), Choices("dense")


def make_streams(steps=STEPS):
    """Returns streams, their times, and what is to be read of each step."""
    xs, ts = zip(*(make_sequence(steps, seed) for seed in range(STREAMS)))
    xs, ts = jnp.stack(xs), jnp.stack(ts)
    return xs, ts, jnp.cumsum(xs, axis=1) / 3


def begin(model, streams):
    xs, ts, _ = streams
    return jax.vmap(model.init)(xs[:, 0], ts[:, 0])


def loss(model, window, key, carry):
    xs, ts, ys = window.data
    go = lambda xs, ts, state: model.run(xs, ts, state=state)  # noqa: E731
    outputs, carry = jax.vmap(go)(xs, ts, window.take(carry))
    return wj.mse(outputs, ys), carry


@pytest.mark.parametrize("kind", ("dense", "low_rank", "subspace_dense", "stack"))
def test_one_pass_gives_the_outputs_and_the_state(kind):
    stack = kind == "stack"
    model = make_stack(PLAIN) if stack else make_model(Choices(kind, drive="causal"))
    xs, ts = make_sequence(9)
    mask = jnp.arange(9) % 4 != 1
    outputs, state = model.run(xs[:5], ts[:5], mask=mask[:5])
    assert_close(outputs, model(xs[:5], ts[:5], mask=mask[:5]))
    assert_close(state, model.final(xs[:5], ts[:5], mask=mask[:5]))
    later, last = model.run(xs[5:], ts[5:], queries=ts[5:] + 1, state=state)
    assert_close(later, model(xs[5:], ts[5:], queries=ts[5:] + 1, state=state))
    assert_close(last, model.final(xs[5:], ts[5:], state=state))


@pytest.mark.parametrize("transition", ("dense", "low_rank"))
def test_a_gradient_is_full_within_a_window_and_none_across(transition, double):
    """The oracle holds the state between two windows fixed."""
    choices = Choices(transition)
    model, (xs, ts) = make_model(choices), make_sequence(12)
    arrays, (x, t) = named_arrays(model), (np.asarray(xs), np.asarray(ts))
    before = run(choices, arrays, x, t)[0][5]

    def second_window(w):
        (A, B), theta, total = matrices(transition, w), before, 0
        for i in range(6, 12):
            theta = A @ theta + B @ drive(choices, w, x, t, i)
            output = decode(choices, w, theta, x[i], t[i])
            total = total + np.sum((output + 1) ** 2) / 12
        return total

    def truncated(model, state):
        return jnp.mean((model.run(xs[6:], ts[6:], state=state)[0] + 1) ** 2)

    def whole(model):
        return truncated(model, model.final(xs[:6], ts[:6]))

    state = model.final(xs[:6], ts[:6])
    got = named_arrays(eqx.filter_grad(truncated)(model, state))
    want = gradient(second_window, arrays)
    assert_close(got, want)
    assert all(not np.any(v) for k, v in want.items() if ".initial" in k)
    through = named_arrays(eqx.filter_grad(whole)(model))
    assert np.max(np.abs(through[".transition.B"] - want[".transition.B"])) > 1e-3


def by_hand(model, streams, steps, rate):
    """Trains on windows in a plain loop, by optax alone."""
    optimizer = optax.adam(rate)
    weights = eqx.filter(model, eqx.is_inexact_array)
    state, carry, losses = optimizer.init(weights), None, []
    for step in range(steps):
        place = step % (STEPS // LENGTH)
        xs, ts, ys = (
            array[:, place * LENGTH : (place + 1) * LENGTH] for array in streams
        )

        def mean(model, xs=xs, ts=ts, ys=ys, carry=carry, place=place):
            total, after = 0.0, []
            for i in range(STREAMS):
                own = carry[i] if carry is not None and place else None
                outputs = model(xs[i], ts[i], state=own)
                after.append(model.final(xs[i], ts[i], state=own))
                total += jnp.mean((outputs - ys[i]) ** 2) / STREAMS
            return total, lax.stop_gradient(after)

        (value, carry), slopes = eqx.filter_value_and_grad(mean, has_aux=True)(model)
        changes, state = optimizer.update(slopes, state)
        model = eqx.apply_updates(model, changes)
        losses.append(value)
    return model, jnp.stack(losses)


def train(model, streams, steps=8, **more):
    options = {"steps": steps, "key": jr.key(0), "report": None, "every": 3} | more
    options |= {"carry": begin(model, streams)}
    windows = wj.Windows(streams, LENGTH)
    return wj.fit(model, loss, windows, optax.adam(0.01), **options)


def test_a_training_goes_on_from_window_to_window(double):
    """Over more than an epoch: the streams begin again with every one."""
    model, streams = make_model(Choices("low_rank")), make_streams()
    got, history = train(model, streams, 5)
    want, losses = by_hand(model, streams, 5, 0.01)
    assert_close(history.loss, losses)
    assert_close(
        eqx.filter(got, eqx.is_inexact_array), eqx.filter(want, eqx.is_inexact_array)
    )


class Killed(BaseException):
    pass


def test_a_training_that_is_resumed_has_its_carry(tmp_path):
    """The checkpoint lies amid the streams, where what was carried counts."""
    assert 4 % (STEPS // LENGTH)
    model, streams = make_model(Choices("subspace_dense")), make_streams()
    want = train(model, streams, every=4)

    def report(progress):
        if progress.step == 8:
            raise Killed

    options = {"every": 4, "checkpoint": tmp_path}
    with pytest.raises(Killed):
        train(model, streams, report=report, **options)
    other = make_model(Choices("subspace_dense"), seed=5)
    assert_same(train(other, streams, resume=True, **options), want)


def test_windows_are_consecutive_and_begin_again(tmp_path):
    xs = np.arange(2 * 11 * 3).reshape(2, 11, 3).astype(np.float32)
    np.save(tmp_path / "xs.npy", xs)
    mapped = np.load(tmp_path / "xs.npy", mmap_mode="r")
    windows = wj.Windows({"x": mapped, "n": np.arange(22).reshape(2, 11)}, 4)
    assert windows.per_epoch == 2
    for step in range(5):
        data, fresh = windows(step)
        start = step % 2 * 4
        assert fresh == (step % 2 == 0)
        assert isinstance(data["x"], jax.Array)
        assert_same(data["x"], jnp.asarray(xs[:, start : start + 4]))
        assert data["n"].shape == (2, 4)
        assert windows(step).take("carry") == (None if fresh else "carry")


@pytest.mark.parametrize(
    "streams, length, fragment",
    (
        (jnp.ones((2, 3)), 4, "at most the 3 steps; got length=4"),
        (jnp.ones((2, 3)), 0, "length=0"),
        (
            jnp.ones(3),
            1,
            r"two leading axes, of streams and of time; got shapes \[\(3,",
        ),
        ((jnp.ones((2, 3)), jnp.ones((2, 4))), 1, r"got shapes \[\(2, 3\), \(2, 4\)\]"),
        ((), 1, r"got shapes \[\]"),
    ),
)
def test_what_is_no_stream_is_refused(streams, length, fragment):
    with pytest.raises(ValueError, match=rf"`Windows\(streams, length\)`.*{fragment}"):
        wj.Windows(streams, length)


def test_a_loss_has_to_hand_on_what_it_is_handed():
    def fit(loss, carry):
        options = {"steps": 1, "key": jr.key(0), "report": None, "carry": carry}
        return wj.fit(jnp.ones(2), loss, [jnp.ones(2)], optax.sgd(0.1), **options)

    with pytest.raises(TypeError, match=r"`fit\(..., carry\)` needs a loss .*from it"):
        fit(lambda model, batch, key, carry: jnp.sum(model), jnp.ones(2))
    with pytest.raises(TypeError, match="returns a carry like the one it is given"):
        fit(lambda model, batch, key, carry: (jnp.sum(model), carry[0]), jnp.ones(2))
    assert fit(lambda m, b, k, c: (jnp.sum(m * c), c + 1), jnp.ones(2))[1].loss == 2


def temporary(function, *arguments):
    """Returns how many bytes XLA takes for a function beside what goes in and comes out."""
    lowered = jax.jit(function).lower(*arguments)
    analysis = lowered.compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


@pytest.mark.slow
def test_a_hundred_thousand_steps_are_trained_on_in_bounded_memory():
    steps, length = 100_000, 500
    network = make_network()
    decoder = wj.NetworkDecoder(network)
    model = wj.WARP(
        decoder=decoder,
        transition=wj.LowRankTransition(14, 2, 3, length=length, key=jr.key(1)),
        initial=wj.LearntInitial(decoder.flatten(network)),
    )
    noise = np.random.default_rng(0).standard_normal((1, steps, 2))
    xs = np.sin(np.cumsum(noise * 0.1, axis=1)).astype(np.float32)
    ts = np.linspace(0, 1, steps, dtype=np.float32)[None]
    ys = xs[:, :1] - xs
    windows = wj.Windows((xs, ts, ys), length)
    carry = begin(model, (jnp.asarray(xs), jnp.asarray(ts), None))

    def train(optimizer):
        options = {"steps": windows.per_epoch, "key": jr.key(0), "carry": carry}
        options |= {"project": wj.RadiusBound(1.0), "report": None}
        return wj.fit(model, loss, windows, optimizer, **options)[1].loss[-50:]

    learnt, untrained = train(optax.adam(2e-2)), train(optax.sgd(0.0))
    assert windows.per_epoch == steps // length
    assert jnp.mean(learnt) < 0.85 * jnp.mean(untrained)

    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def slopes(weights, data, carry):
        def value(weights):
            model = eqx.combine(weights, rest)
            return loss(model, wj.Window(data, False), None, carry)[0]

        return jax.grad(value)(weights)

    one, whole = (
        temporary(slopes, weights, (xs[:, :n], ts[:, :n], ys[:, :n]), carry)
        for n in (length, steps)
    )
    assert one < 2**24
    assert whole > 20 * one


@pytest.mark.slow
@pytest.mark.parametrize("transition", ("dense", "low_rank"))
def test_a_stream_of_a_million_steps_does_not_drift(transition, double):
    """Eigenvalues on the unit circle forget nothing, rounding errors least of all."""
    steps = 1_000_000
    model = make_model(Choices(transition))
    part = wj.RadiusBound(1.0)(jax.tree.map(lambda a: a * 1.05, model.transition))
    assert abs(float(wj.spectrum(part).radius) - 1) < 1e-9
    model = eqx.tree_at(lambda m: m.transition, model, part)

    def observed(i):
        return jnp.stack([jnp.sin(0.37 * i), jnp.cos(0.11 * i)])

    def streamed(model, steps):
        def step(state, i):
            return model.step(state, observed(i), i / steps), None

        state = model.init(observed(jnp.zeros(())), 0.0)
        return lax.scan(step, state, jnp.arange(1, steps, dtype=float))[0]

    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    sizes = [
        temporary(lambda w, n=n: streamed(eqx.combine(w, rest), n).theta, weights)
        for n in (1_000, steps)
    ]
    # But for the numbers of the steps themselves.
    assert sizes[1] - sizes[0] <= 8 * steps
    state = eqx.filter_jit(streamed)(model, steps)
    xs = jax.vmap(observed)(jnp.arange(steps, dtype=float))
    batch = eqx.filter_jit(model.final)(xs, jnp.arange(steps) / steps)
    error = jnp.max(jnp.abs(state.theta - batch.theta)) / jnp.max(jnp.abs(batch.theta))
    assert error < 1e-8
    read = joined(model.read(state, 0.5)) - joined(model.read(batch, 0.5))
    assert jnp.max(jnp.abs(read)) < 1e-8
