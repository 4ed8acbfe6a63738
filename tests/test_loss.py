"""Losses, against SciPy and against what they must sum to."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import warp_jax as wj

from .helpers import assert_close


def test_mse_is_the_mean_of_squares(getkey, precision):
    prediction, target = jr.normal(getkey(), (2, 5, 3))
    want = np.mean((np.asarray(prediction) - np.asarray(target)) ** 2)
    assert_close(wj.mse(prediction, target), want)
    assert_close(
        wj.mse(prediction[:, 0], target[:, 0]),
        np.mean((np.asarray(prediction) - np.asarray(target))[:, 0] ** 2),
    )


def test_gaussian_nll_is_minus_the_log_density(getkey, precision):
    mean, raw, target = jr.normal(getkey(), (3, 5, 2))
    std = jnp.exp(raw)
    want = -scipy.stats.norm.logpdf(
        *(np.asarray(a, np.float64) for a in (target, mean, std))
    )
    assert_close(wj.gaussian_nll(wj.Gaussian(mean, std), target), want.mean())


@pytest.mark.parametrize("masked", ("mse", "gaussian_nll"))
def test_masked_losses_see_the_valid_steps_alone(masked, getkey, precision):
    mean, target = jr.normal(getkey(), (2, 5, 2))
    mask = jnp.array([0, 1, 1, 0, 1], bool)

    def loss(mean, target, mask=None):
        if masked == "mse":
            return wj.mse(mean, target, mask)
        return wj.gaussian_nll(
            wj.Gaussian(mean, jnp.full_like(mean, 0.7)), target, mask
        )

    hidden = jnp.where(mask[:, None], target, jnp.nan)
    run = jax.value_and_grad(loss)
    value, slope = run(mean, hidden, mask)
    want, want_slope = run(mean[mask], target[mask])
    assert_close((value, slope[mask]), (want, want_slope))
    assert not np.any(slope[~mask])


@pytest.mark.parametrize(
    "mean, std", ((0.1, 0.3), (-0.9, 0.01), (3.0, 0.5), (0.0, 40.0))
)
def test_the_probabilities_of_all_levels_sum_to_one(mean, std, precision):
    levels = jnp.linspace(-1, 1, 16)

    def bits(level):
        gaussian = wj.Gaussian(jnp.array([mean]), jnp.array([std]))
        return wj.bits_per_dim(gaussian, level[None], 16)

    assert_close(jnp.sum(2.0 ** -jax.vmap(bits)(levels)), np.array(1.0))


@pytest.mark.parametrize("mean", (-0.3, 0.004, 0.7))
def test_bits_are_the_mass_of_a_level(mean, double):
    target = jnp.array([-1.0, -0.2, 0.0, 0.6, 1.0])
    gaussian = wj.Gaussian(jnp.full(5, mean), jnp.full(5, 0.4))
    level = np.round((np.asarray(target) + 1) / 2 * 255)
    edges = -1 + (level + np.array([[-0.5], [0.5]])) * 2 / 255
    edges[0, 0], edges[1, -1] = -np.inf, np.inf
    mass = np.diff(scipy.stats.norm.cdf(edges, mean, 0.4), axis=0)
    want = -np.log2(mass).mean()
    # The difference of the reference's own cumulative masses loses four digits.
    assert np.isclose(wj.bits_per_dim(gaussian, target), want, rtol=1e-11, atol=0)


def log_mass(low, high):
    """The log of the normal mass between two points above zero, by quadrature."""
    inner = lambda u: np.exp(-low * u - u * u / 2)  # noqa: E731
    area, _ = scipy.integrate.quad(inner, 0, min(high - low, 40 / low), epsabs=0)
    return np.log(area) - low * low / 2 - np.log(2 * np.pi) / 2


@pytest.mark.parametrize("std", (0.1, 0.01, 0.002))
@pytest.mark.parametrize("side", (-1, 1))
def test_bits_and_their_gradients_are_right_far_in_the_tails(std, side, precision):
    mean, target = 0.0, side * 127 / 255

    def bits(mean, std):
        gaussian = wj.Gaussian(mean[None], std[None])
        return wj.bits_per_dim(gaussian, jnp.array([target]))

    def reference(mean, std):
        edges = (abs(target) + np.array([-1, 1]) / 255 - side * mean) / std
        return -log_mass(*edges) / np.log(2)

    value, slopes = jax.value_and_grad(bits, (0, 1))(jnp.array(mean), jnp.array(std))
    assert np.isclose(value, reference(mean, std), rtol=1e-5, atol=0)
    h = 1e-4 * std
    for slope, move in zip(slopes, ((h, 0.0), (0.0, h))):
        ahead = reference(mean + move[0], std + move[1])
        behind = reference(mean - move[0], std - move[1])
        assert np.isclose(slope, (ahead - behind) / (2 * h), rtol=1e-3, atol=0)


def test_bits_and_their_gradients_are_finite():
    @jax.jit
    def run(mean, std, target):
        def bits(mean, std):
            return wj.bits_per_dim(wj.Gaussian(mean[None], std[None]), target[None])

        return jax.value_and_grad(bits, (0, 1))(mean, std)

    means, stds = (-3.0, -1.0, 0.2, 1.0, 3.0), (1e-4, 1e-2, 1.0, 1e2)
    for given in itertools.product(means, stds, (-1.0, 0.2, 1.0)):
        value, slopes = run(*map(jnp.array, given))
        assert value >= 0 and np.all(np.isfinite((value, *slopes))), given


def test_bits_of_other_levels(double):
    gaussian = wj.Gaussian(jnp.array([2.2]), jnp.array([0.8]))
    bits = wj.bits_per_dim(gaussian, jnp.array([2.0]), 4, low=0.0, high=3.0)
    want = -np.log2(np.diff(scipy.stats.norm.cdf([1.5, 2.5], 2.2, 0.8)))[0]
    assert np.isclose(bits, want, rtol=1e-12, atol=0)
    outside = jnp.array([3.6])
    with pytest.raises(ValueError, match=r"outside \[low, high\]"):
        wj.bits_per_dim(gaussian, outside, 4, low=0.0, high=3.0)
    with pytest.raises(eqx.EquinoxRuntimeError, match="outside"):
        eqx.filter_jit(wj.bits_per_dim)(gaussian, outside)


def test_cross_entropy_is_minus_a_log_probability(getkey, precision):
    logits = 4 * jr.normal(getkey(), (6,))
    want = -np.log(scipy.special.softmax(np.asarray(logits, np.float64)))
    got = jax.vmap(wj.cross_entropy, (None, 0))(logits, jnp.arange(6))
    assert_close(got, want)


def test_cross_entropy_refuses_a_label_outside_the_classes():
    with pytest.raises(ValueError, match="label=-1"):
        wj.cross_entropy(jnp.ones(3), jnp.array(-1))
    with pytest.raises(eqx.EquinoxRuntimeError, match="0 <= label < 3"):
        eqx.filter_jit(wj.cross_entropy)(jnp.ones(3), jnp.array(3))
