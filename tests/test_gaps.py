"""A channel that was not seen is the one last seen, and nothing later is looked at."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from . import oracle
from .helpers import (
    assert_close,
    assert_refused,
    CAUSAL_DRIVES,
    joined,
    make_model,
    make_sequence,
    named_arrays,
    perturbed,
    tamed,
    TRANSITIONS,
)
from .oracle import Choices
from .test_rolls import mean_square, ROLLS, told
from .test_streaming import in_parts


jit = eqx.filter_jit
NAN, LENGTH = np.nan, 8
# Both channels begin in a gap, one by itself; step 4 sees nothing at all.
SEEN = np.array([[0, 1], [0, 0], [1, 1], [0, 1], [0, 0], [1, 0], [1, 1], [0, 1]], bool)


STREAMED = [
    pytest.param("causal", "low_rank", marks=pytest.mark.slow),
    pytest.param("signature", "subspace_spectral", marks=pytest.mark.slow),
    pytest.param("embedded", "dense", marks=pytest.mark.slow),
]


def make_gappy(choices=Choices("low_rank"), *, flags=False, roll=wj.AutoRoll()):
    """Returns a model that takes gaps, and with `flags` is told of them."""
    model = make_model(choices, roll=roll)
    drive = wj.Gaps(model.drive, seen_channels=flags)
    model = eqx.tree_at(lambda m: m.drive, model, drive)
    if flags:
        make = TRANSITIONS[choices.transition]
        wider = tamed(perturbed(make(choices.state_size, drive.size(oracle.INPUT))))
        weights, rest = eqx.partition(wider, eqx.is_inexact_array)
        wider = eqx.combine(jax.tree.map(lambda a: a.astype(float), weights), rest)
        model = eqx.tree_at(lambda m: m.transition, model, wider)
    return model


def make_gaps(length=LENGTH, seed=0):
    """Returns a sequence with gaps, and its times."""
    xs, ts = make_sequence(length, seed)
    return jnp.where(jnp.asarray(SEEN[:length]), xs, jnp.nan), ts


def filled(xs, mask=None):
    """Returns what was last seen of each channel, by one loop over the numbers."""
    last, rows = np.zeros(xs.shape[1], xs.dtype), []
    for x, valid in zip(xs, np.ones(len(xs), bool) if mask is None else mask):
        if valid:
            last = np.array([a if np.isnan(b) else b for a, b in zip(last, x)])
        rows.append(last)
    return np.stack(rows)


def plain(w):
    """Returns a model's arrays as the oracle knows them, of the drive inside."""
    return {
        name.replace(".drive.drive.", ".drive."): array for name, array in w.items()
    }


def check_fill(drive, time_channel, mask):
    """Compares with the oracle, which is given the values filled by a loop."""
    decoder = "observing" if time_channel else "gaussian"
    choices = Choices("low_rank", "hypernetwork", drive, time_channel, decoder)
    model, (xs, ts) = make_gappy(choices), make_gaps()
    sequence = filled(np.asarray(xs), mask), np.asarray(ts)
    want = oracle.run(choices, plain(named_arrays(model)), *sequence, mask=mask)
    valid = None if mask is None else jnp.asarray(mask)
    run = jit(lambda model: (model.weights(xs, ts, valid), model(xs, ts, mask=valid)))
    assert_close((run(model)[0], joined(run(model)[1])), want)


@pytest.mark.parametrize("drive", ("increments", "joined"))
def test_a_gap_holds_the_value_last_seen(drive, double):
    check_fill(drive, True, np.array([0, 1, 1, 1, 0, 1, 0, 1], bool))


@pytest.mark.slow
@pytest.mark.parametrize("drive", dict(CAUSAL_DRIVES))
def test_a_gap_holds_the_value_last_seen_without_padding(drive, double):
    check_fill(drive, False, None)


def test_a_roll_takes_gaps(double):
    check_roll("low_rank", "auto")


@pytest.mark.slow
@pytest.mark.parametrize(
    "roll", ("segments", "associative", "convolution", "chunks_of_4")
)
def test_other_rolls_take_gaps(roll, double):
    check_roll("subspace_spectral", roll)


def check_roll(transition, roll):
    """Compares values and gradients, those of the observations too, with the oracle."""
    choices = Choices(transition, "learnt")
    model, (xs, ts) = make_gappy(choices, roll=ROLLS[roll]), make_gaps()
    mask = np.array([0, 1, 1, 1, 1, 1, 0, 1], bool)
    w = plain(named_arrays(model)) | {"xs": np.asarray(xs), "ts": np.asarray(ts)}

    def values(w):
        sequence = filled(w["xs"], mask), w["ts"], w["ts"] + 0.125
        thetas, ys = oracle.run(choices, w, *sequence, mask)
        return {"outputs": ys, "weights": thetas, "final": thetas[-1]}

    got, (model_slopes, *slopes) = told(model, xs, ts, mask)
    assert_close(got, values(w))
    # A tiny step from NaN leads nowhere, and has no slope.
    want = oracle.gradient(lambda w: mean_square(values(w)), w)
    got_slopes = plain(named_arrays(model_slopes)) | dict(zip(("xs", "ts"), slopes))
    assert_close(got_slopes, want, "gradient in ")
    assert not np.any(got_slopes["xs"][~SEEN])


@pytest.mark.parametrize(
    "transition, drive", (("dense", "values"), ("subspace_spectral", "increments"))
)
def test_the_drive_tells_what_was_seen(transition, drive, double):
    choices = Choices(transition, "learnt", drive, decoder="observing")
    model, (xs, ts) = make_gappy(choices, flags=True), make_gaps()
    w, sequence = named_arrays(model), filled(np.asarray(xs))
    move = oracle.mover(choices, w, w[".initial.theta"], None)
    thetas = [w[".initial.theta"]]
    for before, x, seen in zip(sequence, sequence[1:], SEEN[1:]):
        dx = x if drive == "values" else x - before
        thetas.append(move(np.concatenate([dx, seen])))
    ys = [oracle.decode(choices, w, *step) for step in zip(thetas, sequence, ts)]
    got = jit(lambda model: (model.weights(xs, ts), model(xs, ts)))(model)
    assert_close(got, (np.stack(thetas), np.stack(ys)))


@pytest.mark.parametrize("drive, transition", STREAMED)
def test_streams_and_parts_give_the_whole(drive, transition, double):
    choices = Choices(transition, "hypernetwork", drive, True, "observing")
    # Cut inside a gap: the state must still know what was seen before it.
    model, (xs, ts) = make_gappy(choices, flags=True), make_gaps()
    parts = in_parts(model, xs, ts, ts + 0.1, 4)
    whole = parts.pop("whole")
    assert np.all(np.isfinite(whole[0]))
    for name, part in parts.items():
        assert_close(part, whole, name)


@pytest.mark.slow
def test_a_network_may_embed_what_was_seen(double):
    """`EmbeddedDrive(Gaps(...), network)`: the network is given values and flags."""
    choices = Choices("low_rank", "learnt")
    network = eqx.nn.MLP(4, 3, 4, 1, key=jax.random.key(3), dtype=float)
    drive = wj.EmbeddedDrive(wj.Gaps(wj.Values(), seen_channels=True), network)
    wider = perturbed(TRANSITIONS["low_rank"](choices.state_size, 3))
    where = lambda m: (m.drive, m.transition)  # noqa: E731
    model = eqx.tree_at(where, make_model(choices), (drive, tamed(wider)))
    xs, ts = make_gaps()
    thetas, sequence = jit(model.weights)(xs, ts), filled(np.asarray(xs))
    tokens = jax.vmap(network)(jnp.concatenate([sequence, SEEN], axis=1))[1:]
    assert_close(thetas[1:], jax.vmap(model.transition.step)(thetas[:-1], tokens))


@eqx.filter_jit
def everything(model, xs, ts, mask, ahead):
    """Returns a sequence's outputs, and `ahead` of it, and the slopes of a loss of them."""

    def loss(arguments):
        model, xs = arguments
        outputs = model(xs, ts, mask=mask), model.last(xs, ts, mask=mask)
        if ahead is not None:
            outputs += wj.forecast(model, xs, 2, ahead), wj.unroll(model, xs, ts, 1)
        return sum(jnp.mean((y + 1) ** 2) for y in outputs), outputs

    return eqx.filter_grad(loss, has_aux=True)((model, xs))


def test_a_channel_that_is_never_seen_is_a_channel_of_zeros(double):
    check_unseen(False, ahead=False)


@pytest.mark.slow
def test_nothing_unseen_gives_nan_anywhere(precision):
    check_unseen(True, ahead=True)


def check_unseen(flags, ahead):
    choices = Choices("low_rank", drive="increments", decoder="observing")
    model, (xs, ts) = make_gappy(choices, flags=flags), make_sequence(LENGTH)
    times = ts, jnp.arange(LENGTH) != 2, jnp.append(ts, ts[-1] + ts[:2])
    times = times if ahead else (*times[:2], None)
    (slopes, of_xs), outputs = everything(model, xs.at[:, 1].set(NAN), *times)
    if not flags:
        (zero_slopes, of_zeros), want = everything(model, xs.at[:, 1].set(0), *times)
        assert_close(outputs, want)
        assert_close(named_arrays(slopes), named_arrays(zero_slopes))
        assert_close(of_xs[:, 0], of_zeros[:, 0])
    for leaf in jax.tree.leaves((slopes, of_xs, outputs)):
        assert np.all(np.isfinite(leaf))
    assert not np.any(of_xs[:, 1])
    (slopes, of_xs), outputs = everything(model, jnp.full_like(xs, NAN), *times)
    for leaf in jax.tree.leaves((slopes, of_xs, outputs)):
        assert np.all(np.isfinite(leaf))


@pytest.mark.parametrize("drive", ("increments", "causal"))
def test_no_output_knows_a_later_observation(drive, double):
    choices = Choices(drive=drive, time_channel=True, decoder="observing")
    model, (xs, ts) = make_gappy(choices, flags=True), make_gaps()
    slopes = jit(jax.jacrev(lambda xs: model(xs, ts)))(xs)
    slopes = np.sum(np.abs(slopes), axis=1)
    assert np.all(np.isfinite(slopes))
    assert not np.any(slopes[:, ~SEEN])
    later = np.arange(LENGTH)[None] > np.arange(LENGTH)[:, None]
    assert not np.any(slopes[later])
    # Whatever was seen is told by the step that saw it.
    own = slopes[np.arange(LENGTH), np.arange(LENGTH)]
    assert np.all(own[SEEN])


@pytest.mark.parametrize(
    "transition",
    ("low_rank", pytest.param("subspace_spectral", marks=pytest.mark.slow)),
)
def test_roll_outs_take_gaps(transition, double):
    """Values and gradients against steps one by one."""
    choices = Choices(transition, decoder="observing")
    model, (xs, ts) = make_gappy(choices, flags=True), make_gaps(6)
    forced = jnp.array([1, 0, 1, 1, 0], bool)
    ahead = jnp.append(ts, ts[-1] + ts[:2])

    def steps(model, xs):
        state, told = model.init(xs[0], ts[0]), []
        for i in range(1, 6):
            y = model.read(state, ts[i])
            state = model.step(state, jnp.where(forced[i - 1], xs[i], y), ts[i])
            told.append(y)
        state, future = model.final(xs, ts), []
        for t in ahead[6:]:
            y = model.read(state, t)
            state = model.step(state, y, t)
            future.append(y)
        return jnp.stack(told), jnp.stack(future)

    def rolled(model, xs):
        return wj.unroll(model, xs, ts, forced), wj.forecast(model, xs, 2, ahead)

    def slopes(run):
        def loss(arguments):
            outputs = run(*arguments)
            return sum(jnp.mean((y + 1) ** 2) for y in outputs), outputs

        return jit(eqx.filter_grad(loss, has_aux=True))((model, xs))

    assert_close(slopes(rolled), slopes(steps))


@pytest.mark.slow
def test_known_inputs_may_have_gaps_too(double):
    choices = Choices("low_rank")
    model = make_gappy(choices)
    decoder = wj.NetworkDecoder(eqx.nn.MLP(1, 1, 3, 1, key=jax.random.key(2)))
    size = decoder.state_size
    model = wj.WARP(
        decoder=decoder,
        transition=TRANSITIONS["low_rank"](size, 2),
        initial=wj.LearntInitial(jnp.ones(size)),
        drive=model.drive,
    )
    model, (xs, ts) = perturbed(model), make_gaps()
    known = jnp.array([[NAN], [0.3], [NAN]])
    held = jnp.array([filled(np.asarray(xs))[4, 1:], [0.3], [0.3]])
    run = jit(lambda known: wj.forecast(model, xs[:5], 3, ts, known=known))
    got, want = run(known), run(held)
    assert_close(got, want)


def test_losses_see_the_numbers_that_were_seen(getkey, double):
    target, mean = make_gaps()[0], jax.random.normal(getkey(), SEEN.shape)
    value, slope = jax.value_and_grad(wj.mse)(mean, target, jnp.asarray(SEEN))
    error = np.where(SEEN, np.asarray(mean) - np.nan_to_num(target), 0)
    assert_close(value, np.sum(error**2) / SEEN.sum())
    assert_close(slope, 2 * error / SEEN.sum())

    def nll(mean):
        gaussian = wj.Gaussian(mean, jnp.full_like(mean, 0.7))
        return wj.gaussian_nll(gaussian, target, jnp.asarray(SEEN))

    value, slope = jax.value_and_grad(nll)(mean)
    assert_close(slope, error / 0.49 / SEEN.sum())
    constant = np.log(0.7) + np.log(2 * np.pi) / 2
    assert_close(value, np.sum(error**2) / 0.98 / SEEN.sum() + constant)
    steps = np.all(SEEN, axis=1)
    both = np.repeat(steps[:, None], 2, 1)
    assert_close(wj.mse(mean, target, both), wj.mse(mean, target, steps))


REFUSED = [
    ("model(xs, ts, queries, mask)", "`Gaps(drive)`", lambda m: m(make_gaps()[0])),
    ("model.init(x, t)", "`Gaps(drive)`", lambda m: m.init(jnp.array([0.0, NAN]))),
    (
        "model.step(state, x, t)",
        "`Gaps(drive)`",
        lambda m: m.step(m.init(jnp.zeros(2)), jnp.array([0.0, NAN]), 1.0),
    ),
    (
        "unroll(model, xs, ts, forcing, key)",
        "`Gaps(drive)`",
        lambda m: wj.unroll(m, make_gaps()[0], forcing=1),
    ),
    (
        "model(xs, ts, queries, mask)",
        "inf at index (6, 0)",
        lambda m: make_gappy()(make_gaps()[0].at[6, 0].set(np.inf)),
    ),
    (
        "model.step(state, x, t)",
        "inf at index (1,)",
        lambda m: make_gappy().step(
            make_gappy().init(jnp.zeros(2)), jnp.array([NAN, np.inf]), 1.0
        ),
    ),
    (
        "model(xs, ts, queries, mask)",
        "a drive of 4 by Gaps",
        lambda m: eqx.tree_at(
            lambda m: m.drive, m, wj.Gaps(m.drive, seen_channels=True)
        )(make_gaps()[0]),
    ),
    (
        "mse(prediction, target, mask)",
        "valid step",
        lambda m: wj.mse(1.0 * SEEN, 1.0 * SEEN, SEEN & False),
    ),
]


@pytest.mark.parametrize("call, fragment, act", REFUSED)
def test_other_gaps_are_refused(call, fragment, act, unchecked):
    assert_refused(act, ValueError, call, fragment)


def test_bad_values_are_found_inside_jit(unchecked):
    gappy = make_gappy()
    infinite = make_gaps()[0].at[6, 0].set(np.inf)
    run = jit(lambda m, xs: m(xs))
    with pytest.raises(eqx.EquinoxRuntimeError, match="`xs` with NaN or infinite"):
        run(gappy, infinite)
    with pytest.raises(eqx.EquinoxRuntimeError, match=r"`Gaps\(drive\)`"):
        run(make_model(), make_gaps()[0])
    with pytest.raises(TypeError, match=r"`Gaps\(drive\)` needs drives"):
        wj.Gaps(wj.Increments)
