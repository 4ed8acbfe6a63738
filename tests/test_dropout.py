"""Modes left out of a sequence: the numbers, the choice, and who hands the key on."""

# Wrong types are among what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._completion import Completion
from experiments._data import Split
from experiments._tasks import Classification, Forecast, PooledClassification

from . import oracle
from .helpers import (
    assert_close,
    assert_refused,
    assert_same,
    joined,
    make_model,
    make_sequence,
    named_arrays,
    SINGLE_IS_SLOW,
)
from .oracle import Choices
from .test_mask import check_padded, MASKS


jit = eqx.filter_jit
RATE = 0.5
# Of this one, one of two modes is kept.
KEY = jr.key(1)
CALL = "ModeDropout(transition, rate)"


def dropping(choices=Choices("subspace_spectral"), rate=RATE, **given) -> wj.WARP:
    """Returns a model as the other tests have it, but that it drops modes."""
    model = make_model(choices, **given)
    assert isinstance(model.transition, wj.SubspaceTransition)
    dropout = wj.ModeDropout(model.transition, rate)
    return eqx.tree_at(lambda m: m.transition, model, dropout)


def kept(model, xs, key=KEY):
    """Returns what a sequence that begins with a key multiplies its coefficients by."""
    return np.asarray(model.init(xs[0], key=key).hidden.keep, np.float64)


@SINGLE_IS_SLOW
@pytest.mark.parametrize("holes", ((), (0, 3)), ids=("whole", "holes"))
@pytest.mark.parametrize("dynamics", ("spectral", "dense"))
def test_coefficients_that_are_dropped_reach_no_weight(dynamics, holes, precision):
    choices = Choices(f"subspace_{dynamics}", "learnt", decoder="gaussian")
    model, (xs, ts) = dropping(choices), make_sequence(6)
    keep, mask = kept(model, xs), np.isin(np.arange(6), holes, invert=True)
    assert 0 < np.count_nonzero(keep) < len(keep)
    w = named_arrays(make_model(choices))
    given = np.asarray(xs, np.float64), np.asarray(ts, np.float64)

    def loop(arrays):
        arrays = arrays | {".transition.P": arrays[".transition.P"] * keep}
        return oracle.run(choices, arrays, *given, mask=mask)

    @jit
    def everything(model):
        def loss(model):
            outputs = joined(model(xs, ts, mask=jnp.asarray(mask), key=KEY))
            return jnp.mean((outputs + 1) ** 2), outputs

        slopes, outputs = eqx.filter_grad(loss, has_aux=True)(model)
        thetas = model.weights(xs, ts, jnp.asarray(mask), key=KEY)
        return slopes, outputs, thetas

    slopes, outputs, thetas = everything(model)
    want_thetas, want_outputs = loop(w)
    assert_close((thetas, outputs), (want_thetas, want_outputs))
    want = oracle.gradient(lambda w: np.mean((loop(w)[1] + 1) ** 2), w)
    got = {
        name.replace(".transition.transition", ".transition"): slope
        for name, slope in named_arrays(slopes).items()
    }
    assert_close(got, want, "gradient in ")


def test_padding_changes_nothing_where_modes_are_dropped(double):
    """Each sequence drops its own, and the gradients of all are those without padding."""
    choices = Choices("subspace_spectral", drive="causal", time_channel=True)
    model, keys = dropping(choices), jr.split(jr.key(2), len(MASKS))
    keep = jax.vmap(lambda key: model.init(jnp.ones(2), key=key).hidden.keep)(keys)
    assert len(np.unique(keep, axis=0)) > 1
    check_padded(model, keys)


def test_numbers_of_a_complex_mode_are_dropped_together():
    dynamics = wj.SpectralTransition(40, 2, length=20, key=KEY)
    subspace = wj.SubspaceTransition(50, dynamics, key=KEY)
    transition = wj.ModeDropout(subspace, 0.75)
    draw = lambda key: transition.init(jnp.zeros(50), key=key).keep  # noqa: E731
    keep = np.asarray(jax.vmap(draw)(jr.split(jr.key(3), 500)))
    assert set(np.unique(keep)) == {0.0, 4.0}
    assert np.array_equal(keep[:, :20], keep[:, 20:])
    assert abs(np.mean(keep == 4) - 0.25) < 0.02
    # Modes do not fall together: the correlations of 20 of them are noise.
    apart = np.corrcoef(keep[:, :20].T) - np.eye(20)
    assert np.max(np.abs(apart)) < 0.25
    plain = wj.SubspaceTransition(50, wj.DenseTransition(40, 2), key=KEY)
    keep = wj.ModeDropout(plain, 0.75).init(jnp.zeros(50), key=KEY).keep
    assert not np.array_equal(keep[:20], keep[20:])


def everywhere(model, xs, ts, key=None):
    """Returns what each way to use a model gives."""
    forced = jnp.arange(len(xs) - 1) % 2 == 0
    return {
        "call": joined(model(xs, ts, key=key)),
        "weights": model.weights(xs, ts, key=key),
        "last": joined(model.last(xs, ts, key=key)),
        "state": model.final(xs, ts, key=key).theta,
        "pooled": wj.Pooled(model, 3)(xs, ts, key=key),
        "unroll": wj.unroll(model, xs, ts, forced, key),
    }


def test_without_a_key_nothing_is_dropped(double):
    plain, (xs, ts) = make_model(Choices("subspace_spectral")), make_sequence(7)
    model, run = dropping(), jit(everywhere)
    assert_same(run(model, xs, ts), run(plain, xs, ts))
    ahead = jit(lambda model: wj.forecast(model, xs, 3))
    assert_same(ahead(model), ahead(plain))
    assert_same(model.init(xs[0]), plain.init(xs[0]))
    assert_same(jit(model.final)(xs, ts), jit(plain.final)(xs, ts))

    inner, outer = plain.transition, model.transition
    assert_same(outer.matrix(), inner.matrix())
    assert_same(outer.input_matrix(), inner.input_matrix())
    theta = jnp.arange(14.0)
    assert_same(outer.step(theta, xs[0]), inner.step(theta, xs[0]))


def test_a_rate_of_zero_drops_nothing(double):
    model, (xs, ts) = dropping(rate=0), make_sequence(7)
    assert_close(jit(everywhere)(model, xs, ts, KEY), jit(everywhere)(model, xs, ts))


@SINGLE_IS_SLOW
@pytest.mark.parametrize(
    "roll",
    (
        wj.SequentialRoll(),
        wj.SequentialRoll(segment=2),
        wj.AssociativeRoll(),
        wj.ChunkedRoll(2),
        wj.ConvolutionRoll(),
    ),
    ids=repr,
)
def test_every_roll_drops_the_same(roll, precision):
    (xs, ts), run = make_sequence(7), jit(everywhere)
    got, want = run(dropping(roll=roll), xs, ts, KEY), run(dropping(), xs, ts, KEY)
    assert_close(got, want)


def streamed(model, state, xs, ts):
    def step(state, inputs):
        state = model.step(state, *inputs)
        return state, model.read(state, state.t)

    return lax.scan(step, state, (xs, ts))


@SINGLE_IS_SLOW
@pytest.mark.parametrize("transition", ("subspace_spectral", "subspace_dense"))
def test_a_stream_keeps_its_choice(transition, precision):
    model, (xs, ts) = dropping(Choices(transition)), make_sequence(7)

    @jit
    def parts(model):
        start = model.init(xs[0], ts[0], key=KEY)
        end, outputs = streamed(model, start, xs[1:], ts[1:])
        middle = model.final(xs[:3], ts[:3], key=KEY)
        rest, last = (
            model(xs[3:], ts[3:], state=middle),
            model.final(xs[3:], ts[3:], state=middle),
        )
        return (outputs, end), (rest, last)

    whole, last = jit(model)(xs, ts, key=KEY), jit(model.final)(xs, ts, key=KEY)
    (outputs, end), (rest, end_of_rest) = parts(model)
    assert_close((outputs, end), (whole[1:], last))
    assert_close((rest, end_of_rest), (whole[3:], last))
    assert not np.allclose(whole[1:], jit(model)(xs, ts)[1:])


def test_pooled_and_unrolled_sequences_are_streams_with_the_key(double):
    model, (xs, ts) = dropping(), make_sequence(7)
    got = jit(everywhere)(model, xs, ts, KEY)
    every = jit(model)(xs, ts, key=KEY)
    assert_close(got["pooled"], jnp.mean(every[jnp.array([2, 4, 6])], axis=0))
    assert_close(got["last"], every[-1])
    # Of the key of `unroll`, the second part is for what begins a sequence.
    state, outputs = model.init(xs[0], ts[0], key=jr.split(KEY, 3)[1]), []
    for i, (x, t) in enumerate(zip(xs[1:], ts[1:])):
        outputs.append(model.read(state, t))
        state = model.step(state, x if i % 2 == 0 else outputs[-1], t)
    assert_close(got["unroll"], jnp.stack(outputs))


def test_each_sequence_of_a_batch_has_its_own_choice(double):
    model, (xs, ts) = dropping(), make_sequence(5)
    keys = jr.split(jr.key(4), 6)
    each = lambda key: model(xs, ts, key=key)  # noqa: E731
    got = jit(jax.vmap(each))(keys)
    assert_close(got, jnp.stack([jit(each)(key) for key in keys]))
    assert len(np.unique(np.asarray(got[:, -1, 0]).round(8))) > 1


def test_the_losses_of_tasks_hand_keys_on(double):
    model, (xs, _) = dropping(), make_sequence(6)
    batch = Split(np.stack([xs, xs[::-1]]), np.array([0, 1], np.int32))
    batch = jax.tree.map(jnp.asarray, batch)
    gaussian = dropping(Choices("subspace_spectral", decoder="gaussian"))
    tasks = {
        "last": (Classification(), model),
        "pooled": (PooledClassification(reads=2), model),
        "forecast": (Forecast(context=3), model),
        "completion": (Completion(context=3), gaussian),
    }
    for name, (task, model) in tasks.items():
        loss = jit(lambda model, key, task=task: task.loss(model, batch, key))
        plain = eqx.tree_at(lambda m: m.transition, model, model.transition.transition)
        assert_close(loss(plain, KEY), loss(plain, jr.key(9)), name)
        assert not np.allclose(loss(model, KEY), loss(plain, KEY)), name
    one, two = jr.split(KEY)
    logits = jnp.stack(
        [model_last(tasks["last"][1], x, k) for x, k in zip(batch.xs, (one, two))]
    )
    want = jnp.mean(jax.vmap(wj.cross_entropy)(logits, batch.labels))
    assert_close(Classification().loss(tasks["last"][1], batch, KEY), want)


def model_last(model, xs, key):
    return model.last(xs, query=1.0, key=key)


@pytest.mark.parametrize(
    "kind, fragment, act",
    (
        (ValueError, "rate=1.0", lambda m: dropping(rate=1.0)),
        (ValueError, "rate=-0.1", lambda m: dropping(rate=-0.1)),
        (ValueError, "rate=nan", lambda m: dropping(rate=float("nan"))),
        (TypeError, "rate", lambda m: dropping(rate="half")),
        (TypeError, "got a DenseTransition", lambda m: wj.ModeDropout(m.transition, 0)),
    ),
)
def test_what_has_no_modes_or_no_chance_is_refused(kind, fragment, act):
    assert_refused(act, kind, CALL, fragment)
