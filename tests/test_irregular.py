"""Irregular samples of a signal: how they are made, and what models are told of them."""

import itertools
import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments.__main__ import main
from experiments._covariances import BestLinear
from experiments._data import (
    check_sampling,
    load_irregular_silverbox,
    load_silverbox,
    Sampling,
    silverbox,
)
from experiments._data.dataset import unlabelled
from experiments._data.irregular import at, REACH, windows
from experiments._irregular import GappyForecast, mean, models
from experiments.baselines import (
    ControlledGaps,
    Field,
    GRU,
    Recurrent,
    recurrent,
    TOLD,
    Told,
)

from .files import DATA, real
from .helpers import assert_close, assert_same, perturbed
from .test_controlled import network as cde_network


LENGTH, CONTEXT, COUNT = 10, 4, 90
NAN = np.nan
# Both signals begin in a gap, and step 4 sees nothing at all.
SEEN = np.array([[0, 1], [0, 0], [1, 1], [0, 1], [0, 0], [1, 0], [1, 1], [0, 1]], bool)


def signals(times):
    """Returns two band-limited signals at any times, in steps."""
    waves = [(0.02, 1.0), (0.113, 2.0), (0.28, 0.7), (0.35, 0.4)]
    first = sum(a * np.sin(2 * np.pi * f * times + 9 * f) for f, a in waves)
    second = sum(a * np.cos(2 * np.pi * f * times) for f, a in waves[1:])
    return np.stack([first, second], axis=-1)


def cut(sampling, complete=False, length=LENGTH, stride=4, seed=5):
    made = signals(np.arange(COUNT))
    random = np.random.default_rng(seed)
    return windows(
        made, sampling, random, length=length, stride=stride, complete=complete
    )


def test_a_band_limited_signal_is_known_between_its_samples():
    made = signals(np.arange(COUNT))
    times = np.random.default_rng(0).uniform(REACH, COUNT - 1 - REACH, 500)
    np.testing.assert_allclose(at(made, times), signals(times), rtol=0, atol=5e-4)
    whole = np.arange(REACH, COUNT - REACH)
    np.testing.assert_array_equal(at(made, whole.astype(float)), made[whole])


def test_nothing_dropped_and_nothing_shifted_is_the_recording_itself():
    for complete in (False, True):
        rows = cut(Sampling(), complete)
        made = signals(np.arange(COUNT))
        assert rows.shape == (13, LENGTH, 4)
        for i, window in enumerate(rows):
            wanted = made[REACH + 4 * i :][:LENGTH]
            np.testing.assert_array_equal(window[:, :2], wanted)
            np.testing.assert_array_equal(window[:, 2], wanted[:, 0])
            np.testing.assert_array_equal(window[:, 3], np.arange(LENGTH))


def test_samples_are_where_their_times_say_and_gaps_are_of_the_signal():
    seen, known = (cut(Sampling(0.4, 0.8), complete) for complete in (False, True))
    times = known[..., 3] + REACH + 4 * np.arange(len(known))[:, None]
    truth = signals(times)
    np.testing.assert_allclose(known[..., 2], truth[..., 0], rtol=0, atol=5e-4)
    gaps = np.isnan(known[..., 0])
    assert 0.3 < gaps.mean() < 0.5
    # A sample is missing as a whole, and in training what is wanted with it.
    for channel in (0, 1):
        np.testing.assert_array_equal(np.isnan(known[..., channel]), gaps)
        there = known[..., channel][~gaps]
        np.testing.assert_allclose(there, truth[..., channel][~gaps], atol=5e-4)
    np.testing.assert_array_equal(np.isnan(seen[..., 2]), gaps)
    np.testing.assert_array_equal(seen[..., 2][~gaps], known[..., 2][~gaps])
    # Where windows overlap they show the same samples, at the same times.
    np.testing.assert_array_equal(seen[1:, :-4, :3], seen[:-1, 4:, :3])
    np.testing.assert_allclose(seen[1:, :-4, 3], seen[:-1, 4:, 3] - 4, atol=1e-12)


def test_samples_are_the_same_again_and_nested():
    np.testing.assert_array_equal(cut(Sampling(0.3, 0.2)), cut(Sampling(0.3, 0.2)))
    few, many = (np.isnan(cut(Sampling(drop))[..., 0]) for drop in (0.2, 0.6))
    assert np.all(many[few]) and many.sum() > few.sum()
    with_jitter = np.isnan(cut(Sampling(0.6, 0.9))[..., 0])
    np.testing.assert_array_equal(with_jitter, many)
    slight, strong = (cut(Sampling(0, jitter))[..., 3] for jitter in (0.3, 0.9))
    steps = np.arange(LENGTH)
    np.testing.assert_allclose((strong - steps) / 3, slight - steps, atol=1e-12)
    assert np.abs(strong - steps).max() > 0.4
    assert np.all(np.diff(strong, axis=1) > 0)
    assert np.any(cut(Sampling(0, 0.3), seed=6)[..., 3] != slight)


@pytest.mark.parametrize("flag", ("drop", "jitter"))
@pytest.mark.parametrize("value", ("-0.1", "1", "1.5", "nan"))
def test_a_share_that_cannot_be_is_refused(flag, value, capsys):
    with pytest.raises(SystemExit):
        main(["silverbox", f"--{flag}", value])
    said = " ".join(capsys.readouterr().err.split())
    wanted = f"`--{flag}` needs a share of at least 0 and below 1"
    assert wanted in said and re.search(rf"got {float(value)}", said)
    check_sampling(None, 0.0)


@real(silverbox.FILE)
def test_silverbox_at_regular_times_is_what_it_is():
    plain = load_silverbox(DATA)
    data = load_irregular_silverbox(DATA, Sampling())
    assert data.scale is not None and plain.scale is not None
    assert data.in_range is not None and plain.in_range is not None
    assert data.scale[0] == plain.scale[0]
    arrow = plain.test.xs[0][REACH:, [0, 3, 0]]
    count = len(data.test.xs)
    wanted = arrow[: 128 * count].reshape(count, 128, 3)
    np.testing.assert_array_equal(data.test.xs[..., :3], wanted)
    inside = plain.in_range.xs.shape[1]
    windows_inside = len(data.in_range.xs)
    assert REACH + 128 * windows_inside <= inside < REACH + 128 * (windows_inside + 1)
    np.testing.assert_array_equal(data.in_range.xs, data.test.xs[:windows_inside])
    # The first windows of the regular training data begin 16 samples earlier.
    first = plain.train.xs[0][REACH : REACH + 128, [0, 3, 0]]
    np.testing.assert_array_equal(data.train.xs[0][..., :3], first)
    gappy = load_irregular_silverbox(DATA, Sampling(0.5, 0.5))
    for part in (gappy.train, gappy.validation, gappy.test):
        gaps = np.isnan(part.xs[..., :3]).mean((0, 1))
        np.testing.assert_allclose(gaps[:2], 0.5, atol=0.02)
        assert gaps[2] == (0 if part is gappy.test else gaps[0])


def make_gaps(length=8):
    xs = np.random.default_rng(3).normal(size=(length, 2))
    ts = np.cumsum(np.random.default_rng(4).uniform(0.1, 2, length))
    return jnp.asarray(np.where(SEEN[:length], xs, NAN), float), jnp.asarray(ts, float)


def told_by_hand(xs, ts):
    """Returns what a rival is told of a sequence, by one loop in double precision."""
    xs, ts, last, rows = np.asarray(xs, float), np.asarray(ts, float), np.zeros(2), []
    for i, x in enumerate(xs):
        seen = ~np.isnan(x)
        last = np.where(seen, x, last)
        rows.append([*last, *seen, ts[i] - ts[max(i - 1, 0)]])
    return np.array(rows)


def pair():
    """Returns a rival that is told of gaps, and the same that takes what it is told."""
    cell = GRU(5, 3, key=jr.key(0))
    plain = perturbed(recurrent(cell, 1, 4, key=jr.key(1)))
    return Told(plain.cell, plain.decoder, plain.coordinates), plain


def test_a_rival_is_told_values_flags_and_times(precision):
    aware, plain = pair()
    xs, ts = make_gaps()
    told = told_by_hand(xs, ts)
    assert TOLD.size(2) == told.shape[1]
    wanted = plain(jnp.asarray(told, float), ts)
    assert_close(aware(xs, ts), np.asarray(wanted))
    # What a decoder may look at is the values last seen.
    assert_close(aware.final(xs, ts).x, told[-1, :2])


def test_a_told_rival_streams_and_goes_on(double):
    aware, _ = pair()
    xs, ts = make_gaps()
    wanted = np.asarray(aware(xs, ts))
    state = aware.init(xs[0], ts[0])
    assert_close(aware.read(state, ts[0]), wanted[0])
    for i in range(1, len(xs)):
        state = aware.step(state, xs[i], ts[i])
        assert_close(aware.read(state, ts[i]), wanted[i])
    for border in (1, 5):
        half = aware.final(xs[:border], ts[:border])
        rest = aware(xs[border:], ts[border:], state=half)
        assert_close(rest, wanted[border:])


def test_padding_tells_a_rival_nothing(double):
    aware, _ = pair()
    xs, ts = make_gaps()
    mask = np.array([0, 1, 1, 0, 1, 1, 1, 0], bool)
    found = aware(xs, ts, mask=jnp.asarray(mask))
    wanted = aware(xs[mask], ts[mask], ts[mask])
    keep = np.flatnonzero(mask)
    assert_close(found[keep], np.asarray(wanted))
    slopes = eqx.filter_grad(lambda m: jnp.sum(m(xs, ts, mask=jnp.asarray(mask)) ** 2))
    for slope in jax.tree.leaves(slopes(aware)):
        assert np.all(np.isfinite(slope)) and np.any(slope != 0)


def test_a_neural_cde_is_driven_by_values_counts_and_time(precision):
    field = Field(5, 2, 4, key=jr.key(0))
    cell = perturbed(ControlledGaps(5, field, length=4, key=jr.key(1)))
    matrix = cde_network(cell, ".field")
    xs, ts = make_gaps()
    told = told_by_hand(xs, ts)
    encode = cell.encode
    assert encode.bias is not None
    hidden = np.asarray(encode.weight, np.float64) @ told[0] + np.asarray(encode.bias)
    wanted = [hidden]
    for before, now in itertools.pairwise(told):
        dx = np.concatenate([now[:2] - before[:2], now[2:] / 4])
        first = matrix(hidden) @ dx
        hidden = hidden + (first + matrix(hidden + first) @ dx) / 2
        wanted.append(hidden)
    head = recurrent(cell, 1, 4, key=jr.key(2))
    model = Told(cell, head.decoder, head.coordinates)
    states, _ = model._roll(xs, ts, None, None)
    assert_close(states.theta, np.stack(wanted))


class Repeats(Recurrent):
    """Says the values last seen of both signals, summed, and the time."""

    def __call__(self, xs, ts=None, queries=None, mask=None, *, state=None, key=None):
        assert ts is not None
        told, _ = TOLD(self._start(xs, ts), xs, ts, None)
        return told[:, :1] + told[:, 1:2] + ts[:, None]

    @staticmethod
    def _start(xs, ts):
        return wj.State(jnp.zeros(1), jnp.zeros_like(xs[0]), ts[0])


def test_the_error_is_of_the_horizon_where_it_is_known(double):
    sampling = Sampling(0.4, 0.6)
    splits = [unlabelled(cut(sampling, complete)) for complete in (False, True)]
    model = Repeats(*pair()[1].__dict__.values())
    task = GappyForecast(CONTEXT, scale=3.0)
    for split in splits:
        errors = []
        for window in split.xs.astype(np.float64):
            given = window[:, :2].copy()
            given[CONTEXT:, 0] = NAN
            told = told_by_hand(given, window[:, 3])
            said = told[:, 0] + told[:, 1] + window[:, 3]
            errors.append((said - window[:, 2])[CONTEXT:])
        wanted = np.nanmean(np.square(errors))
        batch = split._replace(xs=jnp.asarray(split.xs))
        np.testing.assert_allclose(task.loss(model, batch, None), wanted, rtol=1e-5)
        metrics = task.evaluate(model, split)
        np.testing.assert_allclose(metrics["horizon_mse"], 9 * wanted, rtol=1e-5)
        np.testing.assert_allclose(metrics["horizon_rmse"] ** 2, 9 * wanted, rtol=1e-5)
        assert task.validate(split)(model) == metrics["horizon_mse"]
    assert np.isnan(splits[0].xs[..., 2]).any()
    zero = task.evaluate(mean, splits[1])["horizon_mse"]
    np.testing.assert_allclose(zero, 9 * np.mean(splits[1].xs[:, CONTEXT:, 2] ** 2))


def test_the_best_linear_forecast_is_that_of_the_covariances():
    """Of two sums of waves of random phase, whose covariances are known."""
    frequencies = np.array([0.03, 0.08, 0.15, 0.24])
    random = np.random.default_rng(0)

    def made(times, phases):
        angles = 2 * np.pi * frequencies * times[:, None] + phases
        return np.stack([np.sin(angles).sum(1), np.cos(angles + 0.5).sum(1)], axis=1)

    def phases():
        return random.uniform(0, 2 * np.pi, len(frequencies))

    regular = np.stack([made(np.arange(48.0), phases()) for _ in range(4000)])
    linear = BestLinear(regular, 24)
    times = np.arange(48) + random.uniform(-0.4, 0.4, 48)
    found = linear.between(times)
    lags = 2 * np.pi * frequencies * (times[None, :] - times[:, None])[..., None]
    shift = np.array([[0, 0.5 + np.pi / 2], [-0.5 - np.pi / 2, 0]])
    wanted = np.cos(lags[..., None, None] + shift).sum(2).transpose(2, 0, 3, 1) / 2
    near = np.abs(times[None, :] - times[:, None]) < 28
    assert np.abs(found - wanted).max(axis=(0, 2))[near].max() < 0.1
    truth = made(times, phases())
    window = np.concatenate([truth, truth[:, :1], times[:, None]], axis=1)
    window[random.random(48) < 0.3, :2] = NAN
    (said,) = linear(unlabelled(window[None]), 1e-2)
    # By a few waves all is told, but for what noise there is thought to be.
    assert np.sqrt(np.mean((said - truth[24:, :1]) ** 2)) < 0.3 < truth.std()
    window[24:, 0] = 7.0
    np.testing.assert_array_equal(linear(unlabelled(window[None]), 1e-2)[0], said)
    there = ~np.isnan(window[:, :2].T)
    there[0, 24:] = False
    known = found[there][:, there]
    known += 1e-2 * np.diag(np.diag(known))
    weights = np.linalg.lstsq(known, found[0, 24:][:, there].T, rcond=None)[0]
    by_hand = weights.T @ window[:, :2].T[there]
    np.testing.assert_allclose(said[:, 0], by_hand, atol=1e-3)


@pytest.mark.slow
def test_no_model_sees_what_is_to_come():
    """Of the first signal nothing after the context, of all else nothing after a step."""
    made = models(2, LENGTH, 8, 1, jr.key(0))
    assert set(made) == {"WARP", "WARP, increments", "GRU", "LRU", "neural CDE"}
    step, seen = 7, [CONTEXT - 1, 7]
    xs = next(
        jnp.asarray(window, jnp.float32)
        for window in cut(Sampling(0.3, 0.8), complete=True)
        if 2 < np.isnan(window[:, 0]).sum() and not np.isnan(window[seen, 0]).any()
    )
    gap = jnp.isnan(xs[:, 0])
    task = GappyForecast(CONTEXT)
    predict = eqx.filter_jit(task.predict)
    size = sum(a.size for a in jax.tree.leaves(eqx.filter(made["WARP"], eqx.is_array)))
    for name, model in made.items():
        leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
        assert abs(sum(a.size for a in leaves) - size) < 0.1 * size, name
        model = perturbed(model, 0, 0.1)
        said = predict(model, xs)
        assert said.shape == (LENGTH - 1, 1) and np.all(np.isfinite(said))
        # Neither the truth nor later outputs are looked at.
        assert_same(predict(model, xs.at[:, 2].set(NAN)), said)
        assert_same(predict(model, xs.at[CONTEXT:, 0].set(9.0)), said)
        assert_same(predict(model, xs.at[gap, 2].set(5.0)), said)
        for change in (
            xs.at[step, 1].add(1.0),
            xs.at[step, 1].set(NAN),
            xs.at[step, 3].add(0.05),
        ):
            moved = np.asarray(predict(model, change) != said)[:, 0]
            # Prediction i is of step i + 1, and has seen the input up to it.
            assert not np.any(moved[: step - 1]), name
            assert np.all(moved[step - 1 :]), name
        context = predict(model, xs.at[CONTEXT - 1, 0].add(1.0)) != said
        assert np.all(context[CONTEXT - 2 :]) and not np.any(context[: CONTEXT - 2])


@pytest.mark.slow
@real(silverbox.FILE)
def test_a_run_from_irregular_samples(tmp_path):
    asked = ["silverbox", "--data", str(DATA), "--drop", "0.5", "--jitter", "0.5"]
    asked += ["--steps", "2", "--models", "increments", "CDE"]
    main([*asked, "--out", str(tmp_path / "first")])
    main([*asked, "--out", str(tmp_path / "again")])
    first, again = (
        json.loads((tmp_path / name / "summary.json").read_text())["results"]
        for name in ("first", "again")
    )
    assert [row["model"] for row in first] == [
        "drop 0.5, jitter 0.5: WARP, increments",
        "drop 0.5, jitter 0.5: neural CDE",
        "drop 0.5, jitter 0.5: mean",
        "drop 0.5, jitter 0.5: best linear",
    ]
    for one, other in zip(first, again):
        assert one["metrics"] == other["metrics"]
        assert set(one["metrics"]) == {
            *("horizon_mse", "horizon_rmse"),
            *("in_range_horizon_mse", "in_range_horizon_rmse"),
        }
