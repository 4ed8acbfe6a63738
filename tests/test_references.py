"""What needs no gradient steps, or is linear: ridge, random convolutions, DLinear."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments._data import Split
from experiments.baselines import DLinear, fit_ridge
from experiments.baselines.random_convolutions import (
    classify,
    KERNELS,
    RandomConvolutions,
)

from .helpers import assert_close, named_arrays, perturbed


def series(count, channels=2, length=20, seed=0, mask=False):
    """Returns noisy waves of two classes, the frequency twice as high in one."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    times = np.arange(length) + random.uniform(0, 9, (count, 1))
    waves = np.sin(times * np.where(labels == 1, 1.2, 0.6)[:, None])
    xs = waves[..., None] + 0.3 * random.standard_normal((count, length, channels))
    lengths = random.integers(12, length + 1, count)
    valid = np.arange(length) < lengths[:, None] if mask else None
    return Split(xs.astype(np.float32), labels.astype(np.int32), valid)


def test_the_kernels_are_those_of_minirocket():
    assert KERNELS.shape == (84, 9) and len(np.unique(KERNELS, axis=0)) == 84
    assert np.all(KERNELS.sum(1) == 0) and np.all((KERNELS == 2).sum(1) == 3)


def test_features_are_shares_of_steps_above_thresholds():
    train = series(10)
    convolutions = RandomConvolutions.fit(train, features=600, seed=1)
    assert convolutions.dilations == (1, 2)
    features = convolutions(train.xs[:2], None)
    assert features.shape == (2, 2 * 84 * 4)
    # Features of a dilation come threshold by threshold, each of all kernels.
    for dilation, kernel, bias in ((0, 0, 0), (0, 83, 3), (1, 7, 2), (1, 60, 1)):
        weights = convolutions.weights[dilation, :, kernel].reshape(9, 2)
        chosen = np.any(weights != 0, axis=0)
        assert np.all(weights[:, chosen] == KERNELS[kernel][:, None]) and chosen.any()
        reach, xs = convolutions.dilations[dilation], train.xs[1].astype(float)
        above = 0
        for step in range(20):
            places = [step + reach * (tap - 4) for tap in range(9)]
            total = sum(
                weights[tap] @ xs[place]
                for tap, place in enumerate(places)
                if 0 <= place < 20
            )
            above += total > convolutions.biases[dilation, kernel, bias]
        column = (dilation * 4 + bias) * 84 + kernel
        assert abs(features[1, column] - above / 20) < 1e-6
    assert 0.4 < features.mean() < 0.6
    again = RandomConvolutions.fit(train, features=600, seed=1)(train.xs[:2], None)
    other = RandomConvolutions.fit(train, features=600, seed=2)(train.xs[:2], None)
    assert np.array_equal(features, again) and not np.array_equal(features, other)


def test_padding_is_no_part_of_the_features():
    train = series(10, mask=True)
    convolutions = RandomConvolutions.fit(train, features=300)
    assert train.mask is not None
    padded = convolutions(np.where(train.mask[..., None], train.xs, 9), train.mask)
    for i in range(3):
        short = train.xs[i : i + 1, : train.mask[i].sum()]
        np.testing.assert_allclose(convolutions(short, None)[0], padded[i], atol=1e-6)


@pytest.mark.parametrize("mask", (False, True))
def test_random_convolutions_tell_waves(mask):
    train, test = (series(n, seed=s, mask=mask) for s, n in ((0, 30), (2, 40)))
    metrics, parameters = classify(train, test)
    assert metrics["test_accuracy"] >= 0.9
    assert parameters > 5000


def test_ridge_is_least_squares_with_a_penalty():
    random = np.random.default_rng(0)
    windows, targets = (
        random.standard_normal((9, 4, 2)),
        random.standard_normal((9, 3, 2)),
    )
    model = fit_ridge(windows, targets, (windows, targets), penalties=(0.7,))
    rows, aims = [], []
    for window, target in zip(windows, targets):
        for channel in range(2):
            last = window[-1, channel]
            rows.append([*(window[:, channel] - last), 1.0])
            aims.append(target[:, channel] - last)
    # As least squares of rows that say that each weight is zero.
    penalty = np.sqrt(0.7) * np.eye(4, 5)
    solution, *_ = np.linalg.lstsq(
        np.concatenate([rows, penalty]), np.concatenate([aims, np.zeros((4, 3))])
    )
    np.testing.assert_allclose(model.weights, solution[:4], atol=1e-10)
    np.testing.assert_allclose(model.bias, solution[4], atol=1e-10)
    forecast = model(windows[:1])
    wanted = np.array(rows[:2]) @ solution + windows[0, -1][:, None]
    np.testing.assert_allclose(forecast[0], wanted.T, atol=1e-10)
    assert model.parameters == 15


def test_validation_chooses_the_penalty():
    random = np.random.default_rng(1)
    windows = random.standard_normal((6, 5, 1))
    noise = random.standard_normal((6, 2, 1))
    still = np.repeat(windows[:, -1:], 2, axis=1)
    # What was learnt is noise, so that the most shrunk weights forecast best.
    assert fit_ridge(windows, noise, (windows, still)).penalty == 1e4
    assert fit_ridge(windows, noise, (windows, noise)).penalty == 1e-2


def test_ridge_refuses_windows_without_their_targets():
    with pytest.raises(ValueError, match=r"got \(3, 4, 2\) and \(2, 5, 2\)"):
        fit_ridge(np.zeros((3, 4, 2)), np.zeros((2, 5, 2)), (np.zeros(1), np.zeros(1)))


def test_dlinear_is_its_formula(precision):
    model = perturbed(DLinear(8, 3, kernel=5, key=jr.key(0)))
    window = jr.normal(jr.key(1), (8, 2))
    w, x = named_arrays(model), np.asarray(window, np.float64)
    indices = np.clip(np.arange(8)[:, None] + np.arange(-2, 3), 0, 7)
    trend = x[indices].mean(1)
    wanted = w[".trend.weight"] @ trend + w[".season.weight"] @ (x - trend)
    assert_close(model(window), wanted + w[".trend.bias"][:, None])
    slopes = eqx.filter_grad(lambda m: jnp.sum(m(window) ** 2))(model)
    assert all(jnp.all(leaf != 0) for leaf in jax.tree.leaves(slopes))


def test_dlinear_needs_an_odd_kernel():
    with pytest.raises(ValueError, match="got kernel=4"):
        DLinear(8, 3, kernel=4, key=jr.key(0))
