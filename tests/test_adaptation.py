"""Oscillators: what contexts tell of them, with noise, wrong ranges and gradient steps."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import least_squares

import warp_jax as wj
from experiments import _oscillators as oscillators, adaptation, msd
from experiments.__main__ import main
from experiments._data import make_msd
from experiments._data.made import Sizes
from experiments._data.msd import constants_of, make_widened, OUTSIDE, RANGES, solve
from experiments._models import residual, Turns
from experiments._oscillators import noise_bound, noisy, ratios, told
from experiments._tasks import Forecast, Jumps
from experiments._tuning import adapted, choose, cost, forecasts, Tuning

from .helpers import assert_same, perturbed


pytestmark = pytest.mark.slow
SIZES, LENGTH, CONTEXT = Sizes(64, 4, 6), 64, 25
SCALE = (1.0, 20.0)


@pytest.fixture
def data():
    return make_msd(SIZES, LENGTH)


def small():
    """Returns a small WARP, moved off its initial weights, that cannot run away."""
    network = eqx.nn.MLP(3, 2, 4, 1, key=jr.key(0))
    decoder = wj.NetworkDecoder(network, observe=True)
    size = decoder.state_size
    model = wj.WARP(
        decoder=residual(decoder, 0.1),
        transition=wj.LowRankTransition(size, 2, 2, length=8, key=jr.key(1)),
        initial=wj.LearntInitial(decoder.flatten(network)),
    )
    return perturbed(model, 0, 0.02)


def test_parts_are_of_the_constants_that_are_told(data):
    for part in ("train", "validation", "test", "in_range"):
        xs = getattr(data, part).xs
        constants = constants_of(part, len(xs))
        start = np.broadcast_to([1.0, 0.0], (len(xs), 2))
        made = solve(constants, start, np.linspace(0, 1, LENGTH)) / SCALE
        np.testing.assert_allclose(xs, made, rtol=0, atol=1e-6)


def test_ranges_are_widened_from_those_of_the_training_to_the_test_and_beyond():
    for widening, ranges in ((0.0, RANGES), (1.0, OUTSIDE), (1.5, None)):
        part = make_widened(widening, 500, LENGTH)
        again = make_widened(widening, 500, LENGTH)
        np.testing.assert_array_equal(part.xs, again.xs)
        draws = np.random.default_rng((1, 0)).random((500, 3))
        if ranges is None:
            outer = np.array([[0.005, 0.055], [1.0, 19.0], [0.01, 0.35]]).T
        else:
            outer = np.transpose(ranges)
        constants = outer[0] + draws * (outer[1] - outer[0])
        starts = np.broadcast_to([1.0, 0.0], (500, 2))
        made = solve(constants, starts, np.linspace(0, 1, LENGTH)) / SCALE
        np.testing.assert_allclose(part.xs, made, rtol=0, atol=1e-6)
    for wrong in (-0.1, 2.0):
        with pytest.raises(ValueError, match=rf"widening < 2; got widening={wrong}"):
            make_widened(wrong, 3, LENGTH)


def test_a_window_is_reconstructed_from_its_context_alone(data):
    xs = jnp.asarray(data.test.xs[0])
    predict = eqx.filter_jit(Jumps(CONTEXT).predict)
    learnt = perturbed(msd.laws(data, jr.key(0))[msd.LEARNT], 0, 0.02)
    for name, model in (("identified", msd.identified(data)), ("learnt", learnt)):
        whole = predict(model, xs)
        assert whole.shape == (LENGTH - 1, 2)
        assert_same(predict(model, xs.at[CONTEXT:].set(9.0)), whole)
        # Parameters are those of the context's end, also for the first steps.
        moved = predict(model, xs.at[CONTEXT - 1, 0].add(0.3)) != whole
        assert np.all(np.any(moved, axis=1)), name
        # Within the context it is the first observation that is carried.
        state = model.final(xs[:CONTEXT], jnp.linspace(0, 1, LENGTH)[:CONTEXT])
        first = eqx.tree_at(lambda s: (s.x, s.t), state, (xs[0], jnp.zeros(())))
        read = model.read(first, 1 / (LENGTH - 1))
        np.testing.assert_allclose(whole[0], read, rtol=1e-4, atol=1e-6)


def test_what_is_identified_reconstructs_to_rounding(data):
    with jax.enable_x64(True):
        precise = oscillators.double(data)
        found = Jumps(CONTEXT, scale=SCALE).test(precise)(msd.identified(precise))
    assert found["paper_mse"] < 1e-9 and found["forecast_mse"] < 1e-9, found


def test_the_constants_found_are_in_the_units_of_the_data(data):
    xs = jnp.asarray(data.test.xs[:, :CONTEXT])
    wanted = ratios(constants_of("test", len(xs)))
    np.testing.assert_allclose(told(msd.identified(data), xs), wanted, rtol=2e-2)
    model = msd.laws(data, jr.key(0))[msd.LEARNT]
    decoder = wj.physics.OscillatorDecoder(None, m=0.5, k=0.3, c=0.2, time_scale=20.0)
    constant = wj.WARP(
        decoder=decoder,
        transition=wj.DiagonalTransition(1, 2),
        initial=wj.LearntInitial(jnp.zeros(1)),
    )
    np.testing.assert_allclose(told(constant, xs[:1]), [[240.0, 8.0]], rtol=1e-5)
    assert np.all(np.asarray(told(model, xs)) > 0)


def test_turns_do_not_depend_on_the_size_of_a_motion():
    pairs = Turns(2, 0.5)
    before, now = jnp.array([0.3, -1.2]), jnp.array([0.5, -0.9])
    middle, change = np.array([0.4, -1.05]), np.array([0.2, 0.3])
    length = np.linalg.norm(middle)
    inputs, targets = pairs(before, now)
    np.testing.assert_allclose(inputs, middle / length, rtol=1e-6)
    np.testing.assert_allclose(targets, change / length / 0.5, rtol=1e-6)
    for small, large in zip(pairs(before, now), pairs(10 * before, 10 * now)):
        np.testing.assert_allclose(small, large, rtol=1e-5)
    rest = jax.grad(lambda x: jnp.sum(pairs(x, x)[0] + pairs(x, -x)[1]))
    assert np.all(np.isfinite(rest(jnp.zeros(2))))


def test_noise_is_a_hundredth_of_the_training_datas(data):
    seen = noisy(data, data.test)
    assert seen.dtype == data.test.xs.dtype
    deviation = data.train.xs.std((0, 1))
    spread = (seen - data.test.xs).std((0, 1)) / deviation
    np.testing.assert_allclose(spread, 0.01, rtol=0.15)
    np.testing.assert_array_equal(seen, noisy(data, data.test))


def test_the_bound_is_what_the_best_estimates_reach(data):
    """Maximum likelihood, by SciPy, over many draws of the noise."""
    constants = np.array([[0.03, 9.0, 0.1]])
    start = np.array([[1.0, 0.0]])
    times = np.linspace(0, 1, LENGTH)
    truth = solve(constants, start, times)[0] / SCALE
    deviation = 0.01 * data.train.xs.std((0, 1))
    draws, errors = np.random.default_rng(0), []

    def motion(unknowns):
        stiffness, damping, x, v = unknowns
        one = np.array([[1.0, stiffness, damping]])
        return solve(one, np.array([[x, 20 * v]]), times)[0] / SCALE

    true = np.array([300.0, 10 / 3, 1.0, 0.0])
    for _ in range(60):
        seen = truth[:CONTEXT] + deviation * draws.standard_normal((CONTEXT, 2))
        fit = least_squares(
            lambda u, seen=seen: ((motion(u)[:CONTEXT] - seen) / deviation).ravel(),
            true,
            x_scale=[300, 3, 1, 1],
        )
        errors.append(((motion(fit.x) - truth)[CONTEXT:] * SCALE) ** 2)
    bound = noise_bound(data, constants, start, CONTEXT)
    np.testing.assert_allclose(np.mean(errors), bound["forecast_mse"], rtol=0.3)


def test_a_model_is_adapted_by_adam_on_its_context(data, double):
    model, rate, steps = small(), 1e-3, 3
    xs = jnp.asarray(data.test.xs[0], float)[:6]
    ts = jnp.linspace(0, 1, LENGTH)[:6]
    found = adapted(model, xs, ts, Tuning(steps, rate))

    def loss(model):
        return jnp.mean((model(xs[:-1], ts[:-1], ts[1:]) - xs[1:]) ** 2)

    weights = [np.asarray(w) for w in jax.tree.leaves(eqx.filter(model, eqx.is_array))]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    structure = jax.tree.structure(eqx.filter(model, eqx.is_array))
    rest = eqx.filter(model, eqx.is_array, inverse=True)
    for count in range(1, steps + 1):
        now = jax.tree.unflatten(structure, [jnp.asarray(w) for w in weights])
        slopes = jax.tree.leaves(eqx.filter_grad(loss)(eqx.combine(now, rest)))
        for i, slope in enumerate(map(np.asarray, slopes)):
            first[i] = 0.9 * first[i] + 0.1 * slope
            second[i] = 0.999 * second[i] + 0.001 * slope**2
            mean, square = first[i] / (1 - 0.9**count), second[i] / (1 - 0.999**count)
            weights[i] = weights[i] - rate * mean / (np.sqrt(square) + 1e-8)
    for one, other in zip(jax.tree.leaves(eqx.filter(found, eqx.is_array)), weights):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_future_reaches_no_adapted_forecast(data):
    task, tuning = Forecast(5), Tuning(2, 1e-2)
    model, split = small(), data.test
    before = forecasts(task, model, split, tuning)
    assert before.shape == (len(split.xs), LENGTH - 1, 2)
    later = split._replace(xs=split.xs.copy())
    later.xs[:, 5:] = 9.0
    assert_same(forecasts(task, model, later, tuning), before)
    later.xs[:, 2] += 0.5
    assert np.all(
        np.any(forecasts(task, model, later, tuning) != before, axis=2)[:, 4:]
    )
    assert np.any(before != forecasts(task, model, split, None))
    assert cost(task, model, split, tuning) > 0


def test_validation_chooses_the_tuning(data):
    task, model = Forecast(5, scale=SCALE), small()
    tunings = [Tuning(1, 1e-3), Tuning(40, 1e-2)]
    chosen, tried = choose(task, model, data.validation, tunings)
    assert set(tried) == {"validation_1_at_0.001", "validation_40_at_0.01"}
    by_figure = dict(zip(tried.values(), tunings))
    assert chosen == by_figure[min(tried.values())]
    errors = forecasts(task, model, data.validation, chosen) - data.validation.xs[:, 1:]
    wanted = np.mean((errors[:, 4:] * SCALE) ** 2)
    np.testing.assert_allclose(min(tried.values()), wanted, rtol=1e-5)


def test_scores_are_relative_to_what_is_there(data):
    task = dataclasses.replace(Forecast(CONTEXT, scale=SCALE), context=10)
    split = data.test
    predicted = 0.7 * split.xs[:, 1:]
    predicted[:, :9] = 50.0
    predicted[:, 14:] = -50.0
    found = adaptation.score(task, split, predicted, 5)
    np.testing.assert_allclose(found["relative_mse"], 0.09, rtol=1e-4)
    each = np.mean((split.xs[:, 10:15] * SCALE) ** 2, axis=(1, 2))
    wanted = 0.09 * np.median(each) / np.mean(each)
    np.testing.assert_allclose(found["relative_mse_median"], wanted, rtol=1e-4)


def test_adaptation_runs(tmp_path, monkeypatch):
    monkeypatch.setitem(adaptation.SIZES, "quick", Sizes(64, 4, 6))
    monkeypatch.setattr(adaptation, "TUNINGS", [Tuning(1, 1e-3)])
    folder = tmp_path / "run"
    with jax.numpy_rank_promotion("allow"):
        options = "--steps 1 --learning-rates 1e-3 --models WARP fine-tuned GRU".split()
        main(["adaptation", *options, "--out", str(folder)])
    summary = (folder / "summary.json").read_text()
    for text in (
        '"ranges widened by 1.5"',
        '"50 steps given"',
        '"gradient_steps": 1.0',
    ):
        assert text in summary
    assert (folder / "figures" / "adaptation.png").exists()
