"""Training by free runs, and parts that are fitted by least squares."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._data.dataset import unlabelled
from experiments._fitted import (
    corrections,
    DelayedDecoder,
    Fitted,
    LawDecoder,
    linear,
)
from experiments._free_run import ForcedWindows, FreeRun, Simulation
from experiments.silverbox import alone, cubic, delayed, hardening

from .helpers import assert_close, assert_same, perturbed, tamed


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("precision")]
# Two outputs, of which the second is the first one step ago, and three inputs.
LENGTH, CONTEXT, INPUTS = 11, 3, 3


def driven(examples=40, length=LENGTH):
    """Returns y and its past beside three inputs, by a law with a cube in it, and noise."""
    random = np.random.default_rng(0)
    us = random.normal(size=(examples, length, INPUTS))
    ys = np.zeros((examples, length + 1))
    for t in range(length - 1):
        y, z = ys[:, t + 1], ys[:, t]
        ys[:, t + 2] = 0.9 * y - 0.5 * z - 0.05 * y**3 + 0.3 * us[:, t, 0] + 0.1
        ys[:, t + 2] += 0.1 * random.normal(size=examples)
    return np.concatenate([ys[:, 1:, None], ys[:, :-1, None], us], axis=2)


def cast(tree):
    """Returns a tree with its floating-point arrays in the precision in use."""
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda a: a.astype(float), arrays), rest)


def moved_law(features=hardening):
    """Returns a model of a law that its state moves, all weights off their start."""
    fit = Fitted(features, driven(), 1)
    network = eqx.nn.MLP(1, fit.weights.size, 3, 1, jax.nn.silu, key=jr.key(0))
    decoder = wj.NetworkDecoder(network)
    model = wj.WARP(
        decoder=LawDecoder(decoder, fit),
        transition=wj.LowRankTransition(decoder.state_size, 5, 2, key=jr.key(1)),
        initial=wj.LearntInitial(decoder.flatten(network)),
    )
    model = perturbed(model, 0, 0.2)
    model = eqx.tree_at(lambda m: m.transition, model, tamed(model.transition))
    return cast(delayed(model))


def test_the_truth_is_fed_once_a_horizon_has_passed():
    task = FreeRun(CONTEXT)
    fed = {
        1: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        3: [1, 1, 0, 0, 1, 0, 0, 1, 0, 0],
        8: [1, 1, 0, 0, 0, 0, 0, 0, 0, 1],
        99: [1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    }
    for horizon, wanted in fed.items():
        np.testing.assert_array_equal(task.forced(LENGTH, horizon), np.bool_(wanted))


def test_horizons_grow_with_the_step_alone():
    split = unlabelled(driven())
    task = FreeRun(CONTEXT, horizons=(1, 2, 8))
    batches = task.batches(split, 4, 7, jr.key(0))
    found = [np.asarray(batches(step).forced) for step in range(7)]
    for step, horizon in enumerate((1, 1, 1, 2, 2, 8, 8)):
        np.testing.assert_array_equal(found[step], task.forced(LENGTH, horizon))
    again = task.batches(split, 4, 7, jr.key(0))(5)
    assert_same(again, batches(5))
    plain = wj.Batches(split, 4, key=jr.key(0))
    np.testing.assert_array_equal(again.xs, plain(5).xs)


def free_run(weights, xs, forced):
    """Returns predictions of y with the truth where it is fed: in double precision, and in
    complex numbers where the weights are.
    """
    y, z = xs[0, :2]
    predicted = []
    for t in range(len(xs) - 1):
        features = np.array([y, z, *xs[t, 2:], 1, y**2, y**3])
        ahead = weights @ features
        predicted.append(ahead)
        y, z = (xs[t + 1, 0], xs[t + 1, 1]) if forced[t] else (ahead, y)
    return np.array(predicted)


@pytest.mark.parametrize("horizon", (1, 3, 99))
def test_the_loss_of_a_free_run_and_its_gradient(horizon):
    data = driven(3)
    task = FreeRun(CONTEXT, scale=(2.0,), known=INPUTS)
    forced = task.forced(LENGTH, horizon)
    fit = cast(Fitted(hardening, driven(), 1))
    fit = eqx.tree_at(lambda f: f.weights, fit, fit.weights + 0.03)
    batch = ForcedWindows(jnp.asarray(data, float), forced)

    def loss(weights):
        changed = eqx.tree_at(lambda f: f.weights, fit, weights)
        return task.loss(cast(delayed(alone(changed, 5))), batch, jr.key(0))

    found, slope = jax.value_and_grad(loss)(fit.weights)
    matrix = fit.error * np.asarray(fit.matrix)

    def wanted(raw):
        errors = [
            free_run(raw @ matrix, xs, forced)[CONTEXT - 1 :] - xs[CONTEXT:, 0]
            for xs in np.asarray(batch.xs, np.float64)
        ]
        return np.mean(np.square(errors))

    raw = np.asarray(fit.weights[0], np.float64)
    assert_close({"loss": found}, {"loss": wanted(raw)})
    tiny = 1e-20j * np.eye(len(raw))
    wanted_slope = np.array([np.imag(wanted(raw + step)) / 1e-20 for step in tiny])
    scale = np.max(np.abs(wanted_slope))
    exact = jax.config.read("jax_enable_x64")
    np.testing.assert_allclose(
        slope[0], wanted_slope, rtol=0, atol=scale * (1e-9 if exact else 1e-3)
    )


@pytest.mark.parametrize("features", (linear, hardening, cubic))
def test_a_fit_is_the_one_of_least_squares(features):
    data = driven()
    fit = Fitted(features, data, 1)
    x, y = data[:, :-1].reshape(-1, 5), data[:, 1:, 0].ravel()
    a, b = x[:, 0], x[:, 1]
    ones = np.ones_like(a)
    columns = {linear: (), hardening: (a**2, a**3)}.get(
        features, (a**2, a * b, b**2, a**3, a**2 * b, a * b**2, b**3)
    )
    inputs = np.stack([*x.T, ones, *columns], 1)
    weights = np.linalg.lstsq(inputs, y, rcond=None)[0]
    found = jax.vmap(fit)(jnp.asarray(x, float))[:, 0]
    np.testing.assert_allclose(found, inputs @ weights, atol=1e-5, rtol=0)
    residual = np.sqrt(np.mean((inputs @ weights - y) ** 2))
    np.testing.assert_allclose(fit.error, residual, rtol=1e-6)


def test_an_exact_fit_can_still_be_corrected():
    decay = 0.9 ** np.arange(LENGTH)[:, None]
    fit = Fitted(linear, decay * driven()[:, 3:4], 5)
    assert 0 < fit.error < 1e-4
    assert np.all(np.isfinite(fit.weights))
    with pytest.raises(ValueError, match="independent features; got 6 of rank 2"):
        Fitted(linear, decay * np.ones((4, LENGTH, 5)), 5)


def test_a_law_moves_its_weights_by_what_the_network_says():
    model = moved_law(linear)
    xs = jnp.asarray(driven(1)[0], float)
    ts = jnp.linspace(0, 1, LENGTH)
    law = model.decoder.decoder.decoder
    thetas = np.asarray(model.weights(xs, ts))
    raw = [
        np.asarray(law.decoder.unflatten(jnp.asarray(theta))(t[None]))
        for theta, t in zip(thetas, ts)
    ]
    weights = np.asarray(law.law.weights) + np.array(raw)
    basis = law.law.error * np.asarray(law.law.matrix)
    inputs = np.concatenate([np.asarray(xs), np.ones((LENGTH, 1))], 1)
    wanted = np.einsum("tn,nm,tm->t", weights, basis, inputs)
    found = model(xs, ts)
    assert_close({"y": found[:, 0]}, {"y": wanted})
    np.testing.assert_array_equal(found[:, 1], xs[:, 0])


def test_streams_calls_and_forecasts_agree():
    model = moved_law()
    xs, ts = jnp.asarray(driven(1)[0], float), jnp.linspace(0, 1, LENGTH)
    future = xs[CONTEXT:, 2:]
    count = len(future)
    found = wj.forecast(model, xs[:CONTEXT], count, ts, known=future)
    state = model.init(xs[0], ts[0])
    for x, t in zip(xs[1:CONTEXT], ts[1:CONTEXT]):
        state = model.step(state, x, t)
    for i in range(count):
        output = model.read(state, ts[CONTEXT + i])
        assert_close({"y": found[i]}, {"y": np.asarray(output)})
        x = jnp.concatenate([output, future[i]])
        state = model.step(state, x, ts[CONTEXT + i])


def test_only_what_has_a_scale_is_scored():
    data = driven(5)
    task = Simulation(CONTEXT, scale=(7.0,), known=INPUTS)
    fit = Fitted(linear, data, 1)
    split = unlabelled(data)._replace(xs=data.astype(jnp.result_type(float)))
    metrics = task.evaluate(cast(delayed(alone(fit, 5))), split)
    forced = np.arange(1, LENGTH) < CONTEXT
    weights = np.asarray(fit.weights[0], np.float64)
    weights = weights @ (fit.error * np.asarray(fit.matrix))
    padded = np.concatenate([weights, [0, 0]])
    errors = np.array([free_run(padded, xs, forced) - xs[1:, 0] for xs in data]) * 7
    ahead = errors[:, CONTEXT - 1 :]
    np.testing.assert_allclose(metrics["forecast_mse"], np.mean(ahead**2), rtol=1e-4)
    np.testing.assert_allclose(metrics["forecast_rmse"] ** 2, metrics["forecast_mse"])
    np.testing.assert_allclose(metrics["paper_mse"], np.mean(errors**2) / 2, rtol=1e-4)


def test_a_correction_is_bounded():
    fit = Fitted(linear, driven(), 1)
    made = corrections(fit, 5, length=8, parameters=500, limit=3.0, key=jr.key(0))
    xs = jnp.asarray(driven(1)[0], float)
    by_fit = jax.vmap(fit)(xs)
    for name, model in made.items():
        # The fit itself stays what it was.
        model = cast(
            eqx.tree_at(lambda m: m.decoder.skip, perturbed(model, 0, 0.6), fit)
        )
        # A large perturbation of A would overflow.
        away = np.abs(np.asarray(model(xs[:4]) - by_fit[:4])) / fit.error
        assert 1 < away.max() < 3.01, name


def test_what_comes_next_has_its_past_beside_it():
    inner = wj.NetworkDecoder(eqx.nn.Linear(1, 1, key=jr.key(0)))
    decoder = DelayedDecoder(inner)
    assert (decoder.state_size, decoder.out_size) == (2, 2)
    theta = jnp.array([2.0, 3.0])
    state = wj.State(theta, jnp.array([5.0, 7.0, 9.0]), jnp.zeros(()))
    np.testing.assert_array_equal(decoder(state, jnp.ones(1)), [5.0, 5.0])
