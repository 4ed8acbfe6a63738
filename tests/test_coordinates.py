"""Time to coordinate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_close


@pytest.mark.parametrize(
    "coordinates",
    (
        wj.TimeCoordinate(),
        wj.SinusoidalCoordinates(6, 50.0, scale=2.0),
        wj.RasterCoordinates(2, 3),
        wj.RasterCoordinates(2, 3, waves=2),
    ),
)
def test_the_time_itself_comes_first(coordinates, precision):
    times = jnp.array([0.0, 0.4, 1.0])
    coordinate = jax.vmap(coordinates)(times)
    assert coordinate.shape == (3, coordinates.out_size)
    assert coordinate.dtype == times.dtype
    assert_close(coordinate[:, 0], times)


def test_sines_and_cosines_are_those_of_the_formula(precision):
    coordinate = wj.SinusoidalCoordinates(4, 100.0, scale=3.0)(jnp.array(0.5))
    waves = [f(1.5 / 100 ** (i / 4)) for i in (0, 2) for f in (np.sin, np.cos)]
    assert_close(coordinate, np.array([0.5, *waves]))


def test_a_raster_goes_row_by_row(precision):
    times = jnp.linspace(0, 1, 6)
    places = jax.vmap(wj.RasterCoordinates(2, 3))(times)[:, 1:]
    want = [(row, column) for row in (-1, 1) for column in (-1, 0, 1)]
    assert_close(places, np.array(want, float))
    # A time between two pixels has the nearer one's place.
    near = jax.vmap(wj.RasterCoordinates(2, 3))(times + 0.09)[:, 1:]
    assert_close(near, places)


def test_the_waves_of_a_raster_count_half_periods(precision):
    coordinates = wj.RasterCoordinates(3, 5, waves=2)
    pixel = jnp.array(7 / 14)
    row, column = 0.0, 0.0
    angles = [np.pi / 2 * k * place for k in (1, 2) for place in (row, column)]
    want = [0.5, row, column, *np.sin(angles), *np.cos(angles)]
    assert_close(coordinates(pixel), np.array(want))
    corner = coordinates(jnp.array(1.0))
    assert_close(corner[3:7], np.array([1.0, 1.0, 0.0, 0.0]))
    assert_close(corner[7:], np.array([0.0, 0.0, -1.0, -1.0]))
