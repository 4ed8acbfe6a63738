"""The experiments on dynamical systems: their models, tasks and metrics."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments import cheetah, lorenz, lotka_volterra, msd, silverbox, sine
from experiments.__main__ import main
from experiments._data import Dataset
from experiments._data.dataset import unlabelled
from experiments._free_run import FreeRun, Simulation
from experiments._models import held
from experiments._sizes import count
from experiments._tasks import Forecast, Jumps, Reconstruction, RepeatCopy

from .helpers import assert_same, perturbed


LENGTH, CONTEXT = 6, 3


def toy(channels):
    """Returns a data set of random sequences, small enough for no bound to be met."""
    random = np.random.default_rng(0)

    def part(count):
        context = np.full(count, CONTEXT, np.int32)
        return unlabelled(0.1 * random.normal(size=(count, LENGTH, channels)), context)

    return Dataset(
        "toy", part(40), part(2), part(3), part(2), *np.eye(2)[:, [0] * channels]
    )


# What makes the models, how many channels there are, and the task.
EXPERIMENTS = {
    "msd": (partial(msd.models, preset="quick"), 2, Forecast(CONTEXT)),
    "lorenz": (partial(lorenz.models, preset="quick"), 3, Forecast(CONTEXT)),
    "cheetah": (cheetah.models, 17, FreeRun(CONTEXT)),
    "lotka_volterra": (partial(lotka_volterra.models, preset="quick"), 2, RepeatCopy()),
    "silverbox": (silverbox.models, 5, Simulation(CONTEXT, known=3, step=0.1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_nothing_after_the_context_changes_a_forecast(experiment):
    make, channels, task = EXPERIMENTS[experiment]
    data = toy(channels)
    models = make(data, key=jr.key(0))
    assert set(models) >= {"WARP", "GRU", "LSTM", "LRU", "Transformer", "neural ODE"}
    size = count(models["WARP"])
    xs = jnp.asarray(data.test.xs[0])
    rest = (jnp.asarray(CONTEXT),) if isinstance(task, RepeatCopy) else ()
    predicted = channels - getattr(task, "known", 0)
    later = xs.at[CONTEXT:, :predicted].set(0.3)
    earlier = xs.at[CONTEXT - 1, 0].set(0.3)
    for name, model in models.items():
        assert abs(count(model) - size) < 0.15 * size, name
        model = perturbed(model, 0, 0.1)
        predict = eqx.filter_jit(task.predict)
        forecast = predict(model, xs, *rest)
        assert forecast.shape == (LENGTH - 1, predicted)
        assert_same(predict(model, later, *rest), forecast)
        moved = predict(model, earlier, *rest) != forecast
        assert np.all(np.any(moved[CONTEXT - 1 :], axis=1)), name
        assert not np.any(moved[: CONTEXT - 2])


@pytest.mark.slow
def test_a_simulation_knows_its_inputs_up_to_the_time():
    make, channels, task = EXPERIMENTS["silverbox"]
    data = toy(channels)
    models = make(data, key=jr.key(0))
    xs = jnp.asarray(data.test.xs[0])
    predict = eqx.filter_jit(task.predict)
    for name in ("WARP", "WARP-Phys", "neural ODE"):
        model = perturbed(models[name], 0, 0.1)
        moved = predict(model, xs.at[4, 2].set(0.3)) != predict(model, xs)
        # The input beside output 4 is that of time 5: prediction 4 is the first to have it.
        np.testing.assert_array_equal(moved[:, 0], [False] * 4 + [True])


# What makes models that know a law, how many channels there are, and their tasks.
LAWS = {
    "msd": (msd.laws, 2, (Jumps(CONTEXT, longest=2, settled=1), Forecast(CONTEXT))),
    "msd, identified": (
        lambda data, key: {"identified": msd.identified(data)},
        2,
        (Jumps(CONTEXT, longest=2, settled=1), Forecast(CONTEXT)),
    ),
    "lorenz": (lorenz.laws, 3, (Forecast(CONTEXT),)),
    "lorenz, identified": (
        lambda data, key: lorenz.identified(data),
        3,
        (Forecast(CONTEXT),),
    ),
    "sine": (
        lambda data, key: sine.warps("quick", key),
        1,
        (Reconstruction(CONTEXT),),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", LAWS)
def test_nothing_after_the_context_changes_the_forecast_of_a_law(experiment):
    make, channels, tasks = LAWS[experiment]
    data = toy(channels)
    xs = jnp.asarray(data.test.xs[0])
    for name, model in make(data, jr.key(0)).items():
        model = perturbed(model, 0, 0.1)
        for task in tasks:
            predict = eqx.filter_jit(task.predict)
            forecast = predict(model, xs)
            assert forecast.shape == (LENGTH - 1, channels)
            assert_same(predict(model, xs.at[CONTEXT:].set(0.3)), forecast)
            moved = predict(model, xs.at[CONTEXT - 1, 0].set(0.3)) != forecast
            # Where nothing moves the state, only the first observation counts.
            assert np.any(moved[CONTEXT - 1 :]) == ("held" not in name), name
            # By jumps the whole window is told from the context.
            assert isinstance(task, Jumps) or not np.any(moved[: CONTEXT - 2])


def test_jumps_are_scored_where_they_land():
    data, jumps = toy(2), Jumps(CONTEXT, longest=1, settled=0)
    batch = data.train._replace(xs=jnp.asarray(data.train.xs))
    xs = data.train.xs.astype(np.float64)
    # The last step has nowhere to go.
    errors = ((xs[:, 1:] - xs[:, :-1]) ** 2).mean(2) / (
        (xs[:, :-1] ** 2).mean(2) + 0.03
    )
    wanted = errors.sum(1).mean() / LENGTH
    found = jumps.loss(Repeats(), batch, jr.key(0))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


class Repeats(wj.AbstractModel):
    """Says that the next observation is the latest one."""

    def __call__(self, xs, ts=None, queries=None, mask=None, *, state=None, key=None):
        return xs

    def final(self, xs, ts=None, *, mask=None, state=None, key=None):
        return wj.State(jnp.zeros(0), xs[-1], jnp.zeros(()))

    def init(self, x, t=0.0, *, key=None):
        return wj.State(jnp.zeros(0), x, jnp.zeros(()))

    def step(self, state, x, t):
        return wj.State(state.theta, x, state.t)

    def read(self, state, time):
        return state.x


def test_the_metrics_are_what_their_names_say():
    data = toy(2)
    assert data.in_range is not None
    found = Forecast(CONTEXT, scale=(1.0, 20.0)).test(data)(Repeats())
    for name, xs in (("", data.test.xs), ("in_range_", data.in_range.xs)):
        xs = xs.astype(np.float64) * [1, 20]
        held = np.concatenate(
            [xs[:, : CONTEXT - 1], np.repeat(xs[:, [CONTEXT - 1]], 3, axis=1)], axis=1
        )
        errors = (held - xs[:, 1:]) ** 2
        each = errors[:, CONTEXT - 1 :].mean((1, 2))
        wanted = {
            "forecast_mse": each.mean(),
            "forecast_mse_median": np.median(each),
            "paper_mse": errors.mean() / 2,
        }
        for key, value in wanted.items():
            np.testing.assert_allclose(found[name + key], value, rtol=1e-5)
    copied = RepeatCopy().evaluate(Repeats(), data.test)
    fed = data.test.xs.astype(np.float64) * (np.arange(LENGTH) < CONTEXT)[:, None]
    errors = ((fed[:, :-1] - data.test.xs[:, 1:]) ** 2).mean(-1)
    each = errors[:, CONTEXT - 1 :].mean(1)
    np.testing.assert_allclose(copied["forecast_mse"], each.mean(), rtol=1e-5)
    np.testing.assert_allclose(copied["paper_mse"], errors.mean() / 2, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, channels, state_size",
    (
        (sine.models, 1, 4849),
        (lorenz.models, 3, 643),
        (msd.models, 2, 4898),
        (lotka_volterra.models, 2, 4898),
    ),
)
def test_models_are_of_a_size_in_both_presets(make, channels, state_size):
    data = toy(channels)
    for preset in ("quick", "paper"):
        # Their shapes alone: the paper's have tens of millions of numbers.
        models = eqx.filter_eval_shape(partial(make, data, preset), jr.key(0))
        sizes = {name: shapes(model) for name, model in models.items()}
        assert (
            len(set(sizes) & {"GRU", "LSTM", "Transformer", "LRU", "neural ODE"}) == 5
        )
        for name, size in sizes.items():
            if "Phys" not in name:
                assert abs(size - sizes["WARP"]) < 0.15 * sizes["WARP"], (preset, sizes)
    assert models["WARP"].transition.A.shape == (state_size, state_size)


def shapes(model) -> int:
    """Returns how many trained numbers a model has of which only the shapes are there."""
    leaves = jax.tree.leaves(model)
    return sum(
        int(np.prod(leaf.shape))
        for leaf in leaves
        if isinstance(leaf, jax.ShapeDtypeStruct)
        and jnp.issubdtype(leaf.dtype, jnp.inexact)
    )


def test_a_held_state_is_that_of_the_first_observation():
    xs = jr.normal(jr.key(1), (5, 1))
    moving = perturbed(sine.warps("quick", jr.key(0))["WARP"], 0, 0.1)
    still = held(moving)
    thetas = still.weights(xs)
    np.testing.assert_array_equal(thetas, np.repeat(thetas[:1], 5, axis=0))
    assert_same(thetas[0], moving.weights(xs)[0])
    assert np.any(moving.weights(xs)[1:] != thetas[1:])
    size = still.decoder.state_size
    assert_same(still.transition.matrix(), jnp.eye(size))
    assert_same(still.transition.input_matrix(), jnp.zeros((size, 1)))


def test_a_few_waves_fill_a_batch():
    train = toy(1).train
    assert_same(sine.waves(train, 3, 4).xs, train.xs[[0, 1, 2, 0]])
    assert_same(sine.waves(train, 3, 2).xs, train.xs[:3])


@pytest.mark.slow
def test_an_experiment_runs_and_resumes(tmp_path):
    folder = tmp_path / "run"
    with jax.numpy_rank_promotion("allow"):
        options = "--steps 1 --learning-rates 1e-3 3e-3 --models GRU".split()
        main(["msd", *options, "--out", str(folder)])
        before = (folder / "summary.json").read_text()
        main(["msd", "--resume", str(folder)])
    assert (folder / "summary.json").read_text() == before
    assert "in_range_paper_mse" in before
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures == {"learning_curves.png", "phase_plane.png", "trajectories.png"}
