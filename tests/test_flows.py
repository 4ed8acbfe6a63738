"""Differential equations that are identified, and the laws of the systems experiments."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import warp_jax as wj
from experiments import lorenz
from experiments._data.lorenz import _field, STEP
from experiments._flows import Flow

from .helpers import x64
from .test_systems import toy


pytestmark = pytest.mark.slow
DT = 0.05


def lift(x):
    return jnp.stack([x[0], x[1], x[0] * x[1]])


def lifted(x):
    return np.stack(
        [x[..., 0], x[..., 1], x[..., 0] * x[..., 1], 1 + 0 * x[..., 0]], -1
    )


def path():
    """Returns a few observations of predators and prey."""

    def slope(t, x):
        return [x[0] * (1.0 - x[1]), x[1] * (0.7 * x[0] - 0.9)]

    times = DT * np.arange(40)
    solved = solve_ivp(
        slope, (0, 2), [1.5, 0.6], "DOP853", times, rtol=1e-12, atol=1e-12
    )
    return solved.y.T


def identified(xs):
    """The same in NumPy: the regression, and a solution to many digits."""
    between = DT * (lifted(xs[:-1]) + lifted(xs[1:])) / 2
    P = np.linalg.lstsq(between, np.diff(xs, axis=0), rcond=None)[0]
    ahead = solve_ivp(
        lambda t, x: lifted(x) @ P, (0, DT), xs[-1], "DOP853", rtol=1e-12, atol=1e-12
    )
    return P, ahead.y[:, -1]


@pytest.mark.parametrize("double", (False, True))
def test_a_flow_is_identified_and_carried_on(double):
    with x64(double):
        model = wj.physics.least_squares(Flow.of(lift, 2, dt=DT))
        xs, ts = jnp.asarray(path(), float), DT * jnp.arange(41, dtype=float)
        P, wanted = identified(path())
        state = model.final(xs, ts[:40])
        decoder = model.decoder
        assert isinstance(decoder, wj.physics.LeastSquaresDecoder)
        told = decoder.parameters(state)["field"]
        # Single precision tells the constant from the channels badly, at no cost ahead.
        np.testing.assert_allclose(told.T, P, atol=1e-8 if double else 0.1)
        tolerance = 1e-7 if double else 1e-3
        np.testing.assert_allclose(model.read(state, ts[40]), wanted, atol=tolerance)
        if double:
            # The rule of the regression has an error of its own.
            truth = np.array([[1, 0], [0, -0.9], [-1, 0.7], [0, 0]])
            error = np.max(np.abs(told.T - truth))
            assert 1e-5 < error < 5e-3


def test_the_slope_of_a_flow_is_that_of_differences():
    with x64(True):
        model = wj.physics.least_squares(Flow.of(lift, 2, dt=DT))
        ts = DT * jnp.arange(41.0)

        def ahead(xs):
            return jnp.sum(model.read(model.final(xs, ts[:40]), ts[40]))

        slope = jax.grad(ahead)(jnp.asarray(path()))
        for i, j in itertools.product((0, 20, 39), (0, 1)):
            moved = np.zeros((40, 2))
            moved[i, j] = 1e-5
            up, down = (identified(path() + s * moved)[1].sum() for s in (1, -1))
            np.testing.assert_allclose(slope[i, j], (up - down) / 2e-5, atol=1e-5)


def test_a_forecast_by_a_wrong_flow_stays_finite():
    model = wj.physics.least_squares(
        Flow.of(lambda x: jnp.stack([x[0] ** 2, x[1]]), 2, dt=DT)
    )
    far = wj.forecast(
        model, jnp.asarray(path()[:8], float), 400, DT * jnp.arange(408.0)
    )
    assert np.all(np.abs(far) <= 10)


def test_the_law_of_lorenz_is_that_of_its_data():
    scale, centre = np.array([8.0, 9.0, 7.0]), np.array([0.5, -0.3, 23.0])
    data = toy(3)._replace(scale=scale, centre=centre)
    places = jr.normal(jr.key(1), (5, 3))
    numbers = {"sigma": 10.0, "rho": 31.0, "beta": 8 / 3}
    constants = {name: jnp.asarray(number) for name, number in numbers.items()}
    right, wrong = (model.decoder for model in lorenz.laws(data, jr.key(0)).values())
    assert isinstance(right, wj.physics.ODEDecoder)
    assert isinstance(wrong, wj.physics.ODEDecoder)
    # The time of the data is from zero to one.
    assert right.time_scale == STEP * (data.train.xs.shape[1] - 1)
    for place in places:
        there = np.asarray(place) * scale + centre
        slope = np.asarray(_field(there, (31.0,))) / scale
        got = right.vector_field(0.0, place, constants)
        np.testing.assert_allclose(got, slope, rtol=1e-4, atol=1e-4)
        slope[1] += there[1] / scale[1]
        got = wrong.vector_field(0.0, place, constants)
        np.testing.assert_allclose(got, slope, rtol=1e-4, atol=1e-4)
