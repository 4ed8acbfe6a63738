"""msd_zero: forecasts of mass-spring-dampers that start anywhere."""

from . import msd
from ._config import Rated
from ._data import make_msd_zero
from ._data.msd import ZERO_SIZES


def run(config: Rated) -> dict:
    """Forecast mass-spring-dampers from random starts, in and out of the training range."""
    return msd.forecast("msd_zero", make_msd_zero, ZERO_SIZES, config)
