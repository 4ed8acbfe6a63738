"""Every law of the transitions whose steps are exponentials of matrices. The suite runs it
in processes that keep to one core, see `BY_MATRIX`. By hand:

    taskset -c 0 python -m pytest tests/one_core.py
"""

import os

import pytest

from .pairs import BY_MATRIX, EVERY_ROLL
from .test_invariances import BATCHES, check


@pytest.mark.parametrize("roll", EVERY_ROLL)
@pytest.mark.parametrize("transition", BY_MATRIX)
def test_every_law_holds(transition, roll, double):
    assert len(os.sched_getaffinity(0)) == 1, "hangs on several cores: use one"
    check(transition, roll, BATCHES)
