"""Training steps need so much temporary memory, and no more: copies show nowhere else."""

import dataclasses

import jax.random as jr
import pytest

from experiments._bench import training
from experiments._workloads import (
    DENSE,
    EIGENWORMS,
    ETT,
    ICL,
    LOW_RANK,
    MNIST,
    MSD,
    Workload,
)


def growth(load: Workload, candidate: str, lengths: tuple[int, int]) -> float:
    """Returns how many numbers of temporary memory a step more takes, of each sequence."""
    short, long = (_numbers(load, candidate, length) for length in lengths)
    return (long - short) / (lengths[1] - lengths[0]) / load.batch


def _numbers(load: Workload, candidate: str, length: int) -> float:
    load = dataclasses.replace(load, length=length)
    keys = jr.split(jr.key(0), 3)
    model = load.model(candidate, keys[0])
    program = training(model, load.loss, load.data(keys[1]), keys[2])
    if program.temp_bytes is None:
        pytest.skip("this backend does not tell temporary memory")
    return program.temp_bytes / 4


def test_a_last_state_takes_little_more_than_its_drives():
    """A third copy of them would be seen, which the gradient does not need."""
    numbers = growth(EIGENWORMS, LOW_RANK, (4096, 8192))
    assert numbers < 2.6 * EIGENWORMS.inputs


# Of a state's size: roll-outs keep coefficients and what goes through layers.
STATES = {
    "MSD": (MSD, LOW_RANK, 0.26),
    "ETT": (ETT, LOW_RANK, 0.43),
    "MNIST": (MNIST, LOW_RANK, 0.6),
    "ICL": (ICL, LOW_RANK, 0.14),
    "ICL, dense": (ICL, DENSE, 3.6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_a_step_keeps_a_part_of_a_state(name):
    load, candidate, most = STATES[name]
    lengths = (64, 128) if load.task == "autoregressive" else (32, 64)
    size = load.model(candidate, jr.key(0)).decoder.state_size
    assert growth(load, candidate, lengths) / size < most
