"""What a trial trains with, against AdamW, its clipping and its schedule in NumPy."""

import dataclasses

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments._trial import Trial

from . import oracle
from .helpers import make_model, make_sequence, named_arrays
from .oracle import Choices


CHOICES = Choices("diagonal", "learnt", decoder="tanh")
STEPS, RATE, DECAY = 40, 3e-2, 0.5


def loss(model, batch, key):
    xs, ts, share = batch
    return share * jnp.mean((model(xs, ts) + 1) ** 2)


def batches(step):
    """Returns a sequence, and what its loss counts: the less, the later."""
    return *make_sequence(4, step % 3), jnp.asarray(4.0 * 0.8**step)


def make_trial(rate, decay):
    none = lambda model: 0.0  # noqa: E731
    told = lambda model: {}  # noqa: E731
    trial = Trial("plain", make_model(CHOICES), loss, batches, STEPS, 14, none, told)
    return dataclasses.replace(trial, learning_rate=rate, weight_decay=decay)


def share_of_rate(step):
    """Returns a line from zero over the first twentieth of the steps, then a cosine."""
    warmup = STEPS // 20
    if step < warmup:
        return step / warmup
    return (1 + np.cos(np.pi * (step - warmup) / (STEPS - warmup))) / 2


def by_hand(rate, decay, steps):
    """Trains by AdamW (Loshchilov and Hutter 2019), of gradients of a norm of 1 at most;
    decay is of every weight, by the rate of its step, and no part of the moments.
    """
    w, norms = named_arrays(make_model(CHOICES)), []
    first, second = ({name: 0 * array for name, array in w.items()} for _ in range(2))
    for step in range(steps):
        xs, ts, share = (np.asarray(array, np.float64) for array in batches(step))

        def error(w, xs=xs, ts=ts, share=share):
            return share * np.mean((oracle.run(CHOICES, w, xs, ts)[1] + 1) ** 2)

        slopes = oracle.gradient(error, w)
        norms.append(np.sqrt(sum(np.sum(slope**2) for slope in slopes.values())))
        for name, slope in slopes.items():
            slope = slope / max(norms[-1], 1)
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope**2
            mean = first[name] / (1 - 0.9 ** (step + 1))
            square = second[name] / (1 - 0.999 ** (step + 1))
            change = mean / (np.sqrt(square) + 1e-8) + decay * w[name]
            w[name] = w[name] - rate * share_of_rate(step) * change
    return w, np.array(norms)


@pytest.mark.parametrize("rate, decay", ((RATE, DECAY), (RATE / 5, DECAY), (RATE, 0.0)))
def test_a_trial_trains_by_decay_clipping_and_a_cosine(rate, decay, double):
    trial = make_trial(rate, decay)
    options = {"steps": STEPS, "key": jr.key(0), "report": None}
    model, history = wj.fit(
        trial.model, trial.loss, trial.batches, trial.optimizer(), **options
    )
    want, norms = by_hand(rate, decay, STEPS)
    # The schedule of optax is in single precision whatever else is in double.
    for name, array in named_arrays(model).items():
        np.testing.assert_allclose(array, want[name], rtol=0, atol=3e-9, err_msg=name)
    np.testing.assert_allclose(history.gradient_norm, norms, rtol=1e-7)
    # Some gradients are clipped and some are not.
    assert norms[0] > 2 and norms[-1] < 0.5
    begun = named_arrays(trial.model)
    assert all(np.all(begun[name] != array) for name, array in want.items())


def test_trials_at_several_rates_share_what_is_compiled():
    trial = make_trial(RATE, DECAY)
    updates = {each.optimizer().update for each in trial.at((1e-3, 1e-2))}
    assert updates == {trial.optimizer().update}
    assert make_trial(RATE, 0.0).optimizer().update not in updates
