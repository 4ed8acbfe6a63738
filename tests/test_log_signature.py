"""Windows of a path: their increments and areas, and the drives that others are made of."""

# Wrong types are among what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import assert_close, assert_refused
from .oracle import Choices


def driven(drive, xs, ts, mask=None):
    """Returns the drive of a sequence that begins at its first step."""
    state = wj.State(jnp.zeros(0), xs[0], ts[0], drive.init(xs[0]))
    return drive(state, xs, ts, mask)[0]


@pytest.mark.parametrize("window", (1, 2, 3, 6, 8, 13, 40))
@pytest.mark.parametrize("time_channel", (False, True))
def test_windows_are_iterated_integrals(window, time_channel, precision):
    noise = np.random.default_rng(window)
    path = noise.standard_normal((12, 3)).astype(np.float32)
    times = np.cumsum(noise.uniform(0.5, 2, 12)).astype(np.float32)
    weight = noise.standard_normal((12, 6 + 4 * time_channel))
    drive = wj.LogSignature(2, window=window, time_channel=time_channel)
    choices = Choices(time_channel=time_channel)

    def by_hand(w):
        steps = range(12)
        rows = [
            oracle.log_signature(choices, {}, w["xs"], w["ts"], i, window)
            for i in steps
        ]
        return np.stack(rows)

    w = {"xs": path.astype(float), "ts": times.astype(float)}
    xs, ts = jnp.asarray(path, float), jnp.asarray(times, float)
    got = jax.jit(lambda xs, ts: driven(drive, xs, ts))(xs, ts)
    assert_close(got, by_hand(w))
    assert got.shape == (12, drive.size(3))
    loss = lambda xs, ts: jnp.sum(jnp.asarray(weight, float) * driven(drive, xs, ts))  # noqa: E731
    slopes = jax.jit(jax.grad(loss, (0, 1)))(xs, ts)
    want = oracle.gradient(lambda w: np.sum(weight * by_hand(w)), w)
    assert_close(dict(zip(("xs", "ts"), slopes)), want)
    flat = driven(wj.LogSignature(1, window=window), xs, ts)
    assert_close(flat, by_hand(w)[:, :3])


def test_the_area_of_a_loop_is_its_area_and_has_a_direction(double):
    square = jnp.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    ts = jnp.linspace(0, 1, 5)
    drive = wj.LogSignature(window=4)
    assert_close(driven(drive, square, ts)[-1], jnp.array([0.0, 0.0, 1.0]))
    assert_close(driven(drive, square[::-1], ts)[-1], jnp.array([0.0, 0.0, -1.0]))
    # Two channels that rise together enclose nothing, wherever the path lies.
    ramp = jnp.linspace(5, 7, 5)[:, None] * jnp.array([[1.0, 3.0]])
    assert_close(driven(drive, ramp, ts)[-1], jnp.array([2.0, 6.0, 0.0]))


def test_a_window_of_one_step_is_its_increment(precision):
    xs, ts = jr.normal(jr.key(0), (6, 3)), jnp.linspace(0, 1, 6)
    plain = driven(wj.Increments(time_channel=True), xs, ts)
    signature = driven(wj.LogSignature(window=1, time_channel=True), xs, ts)
    assert_close(signature[:, :4], plain)
    assert not np.any(signature[:, 4:])


def test_long_windows_of_long_paths_lose_no_digits():
    """In single precision areas are as good at the end of a path as at its beginning."""
    steps = np.random.default_rng(0).standard_normal((4000, 2)).astype(np.float32)
    path, ts = np.cumsum(np.round(steps), axis=0), jnp.linspace(0, 1, 4000)
    got = driven(wj.LogSignature(window=300), jnp.asarray(path), ts)[-1]
    first, second = oracle.iterated(path[-301:].astype(float))
    want = np.append(first, (second - second.T)[0, 1] / 2)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-2)


def test_joined_drives_remember_each_its_own(double):
    drives = (
        wj.CausalConvolution(2, 3, 4, key=jr.key(1)),
        wj.LogSignature(window=3),
        wj.Products(),
    )
    joined = wj.JoinedDrive(*drives)
    xs, ts = jr.normal(jr.key(0), (7, 2)), jnp.linspace(0, 1, 7)
    apart = [driven(drive, xs, ts) for drive in drives]
    assert_close(driven(joined, xs, ts), jnp.concatenate(apart, axis=1))
    assert joined.size(2) == sum(drive.size(2) for drive in drives)
    state = wj.State(jnp.zeros(0), xs[0], ts[0], joined.init(xs[0]))
    for i in range(1, 7):
        dx, memory = joined.step(state, xs[i], ts[i])
        state = wj.State(jnp.zeros(0), xs[i], ts[i], memory)
        assert_close(dx, jnp.concatenate([part[i] for part in apart]))


def test_tokens_are_summed_in_whatever_order(double):
    """With A = I, an embedding of values is a sum over the observations."""
    key, theta = jr.key(0), jnp.zeros(14)
    embed = eqx.nn.MLP(2, 3, 8, 1, jax.nn.silu, key=key)
    transition = wj.DenseTransition(14, 3)
    transition = eqx.tree_at(lambda t: t.B, transition, jr.normal(key, (14, 3)))
    model = wj.WARP(
        decoder=wj.NetworkDecoder(eqx.nn.MLP(1, 2, 3, 1, key=key)),
        transition=transition,
        initial=wj.LearntInitial(theta),
        drive=wj.EmbeddedDrive(wj.Values(), embed),
    )
    xs = jr.normal(key, (6, 2))
    shuffled = xs[jnp.array([0, 4, 2, 5, 1, 3])]
    assert_close(model.last(shuffled), model.last(xs))
    want = transition.B @ jnp.sum(jax.vmap(embed)(xs[1:]), axis=0)
    assert_close(model.final(xs).theta, want)


def misfit(ins, outs=3):
    network = eqx.nn.MLP(ins, outs, 4, 1, key=jr.key(0))
    return wj.EmbeddedDrive(wj.Values(), network).size(2)


SIGNATURE, JOINED = "LogSignature(depth, window)", "JoinedDrive(*drives)"
EMBEDDED = "EmbeddedDrive(drive, network)"


@pytest.mark.parametrize(
    "kind, call, fragment, act",
    (
        (ValueError, SIGNATURE, "depth=3", lambda: wj.LogSignature(3, window=2)),
        (ValueError, SIGNATURE, "depth=0", lambda: wj.LogSignature(0, window=2)),
        (ValueError, SIGNATURE, "window=0", lambda: wj.LogSignature(window=0)),
        (TypeError, SIGNATURE, "2.5", lambda: wj.LogSignature(window=2.5)),
        (ValueError, JOINED, "got none", lambda: wj.JoinedDrive()),
        (TypeError, JOINED, "got str", lambda: wj.JoinedDrive("increments")),
        (TypeError, EMBEDDED, "got int", lambda: wj.EmbeddedDrive(3, jnp.tanh)),
        (TypeError, EMBEDDED, "got 3", lambda: wj.EmbeddedDrive(wj.Values(), 3)),
        (ValueError, EMBEDDED, "takes 2 numbers", lambda: misfit(5)),
        (ValueError, EMBEDDED, "got shape ()", lambda: misfit(2, "scalar")),
    ),
)
def test_bad_drives_are_refused(kind, call, fragment, act):
    assert_refused(lambda model: act(), kind, call, fragment)
