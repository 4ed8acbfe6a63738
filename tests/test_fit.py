"""Training: it learns, stops where it should, and says what went wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same


KEY = jr.key(7)


def line(model, batch, key):
    """Returns a loss whose least value, zero, is at `w = 3`."""
    return jnp.mean((model["w"] - 3) ** 2) + 0 * jnp.sum(batch)


def train(loss=line, batches=None, optimizer=None, model=None, **options):
    """Fits one number, unless told otherwise."""
    options = {"steps": 6, "key": KEY, "report": None} | options
    model = {"w": jnp.zeros(())} if model is None else model
    batches = [jnp.zeros(2)] if batches is None else batches
    return wj.fit(model, loss, batches, optimizer or optax.sgd(0.1), **options)


def test_a_small_model_learns_to_forecast_sines():
    phases = jr.uniform(KEY, (32, 1, 1), maxval=2 * jnp.pi)
    xs = jnp.sin(jnp.linspace(0, 6, 12)[None, :, None] + phases)
    network = eqx.nn.MLP(1, 1, 8, 1, jax.nn.silu, key=KEY)
    decoder = wj.NetworkDecoder(network)
    theta = decoder.flatten(network)
    model = wj.WARP(
        decoder=decoder,
        transition=wj.LowRankTransition(theta.size, 1, 4, key=KEY, length=12),
        initial=wj.Hypernetwork(1, theta.size, 1, theta=theta, key=KEY),
    )

    def loss(model, batch, key):
        predictions = jax.vmap(lambda xs: wj.unroll(model, xs, forcing=1))(batch)
        return wj.mse(predictions, batch[:, 1:])

    batches = wj.Batches(xs, 16, key=KEY)
    options = {"steps": 250, "every": 250, "key": KEY, "report": None}
    _, history = wj.fit(model, loss, batches, optax.adam(1e-2), **options)
    first, last = history.loss[0], history.loss[-10:].mean()
    assert last < first / 10
    assert history.best_step == 250 and not history.stopped_early


def test_steps_are_those_of_the_optimizer():
    model, history = train(steps=3)
    w = [0.0]
    for _ in range(3):
        w.append(w[-1] - 0.1 * 2 * (w[-1] - 3))
    assert_close(model["w"], np.array(w[-1]))
    assert_close(history.loss, np.array([(v - 3) ** 2 for v in w[:3]]))
    assert_close(history.gradient_norm, np.array([abs(2 * (v - 3)) for v in w[:3]]))
    assert history.validation == ()


def test_trainings_of_the_same_kind_are_compiled_once():
    traced = []

    def loss(model, batch, key):
        traced.append(1)
        return line(model, batch, key)

    optimizer = optax.sgd(0.1)
    first, _ = train(loss, optimizer=optimizer)
    # Other numbers, another start of the optimizer, and the same shapes.
    other = optimizer._replace(init=lambda params: optimizer.init(params))
    second, _ = train(loss, optimizer=other, model={"w": jnp.ones(())}, key=jr.key(8))
    assert len(traced) == 1
    assert_close(second["w"], 3 + (first["w"] - 3) * 2 / 3)
    train(loss, optimizer=optimizer, model={"w": jnp.zeros(2)})
    assert len(traced) == 2


def test_only_floating_point_arrays_are_trained():
    model = {"w": jnp.zeros(()), "count": jnp.arange(2), "name": "line"}
    trained, _ = train(model=model)
    assert trained["name"] == "line"
    assert_same(trained["count"], model["count"])
    assert trained["w"] != 0


def test_step_i_gets_batch_i_and_key_i():
    def loss(model, batch, key):
        return model["w"] * 0 + batch + jr.uniform(key)

    _, history = train(loss, lambda step: jnp.array(10.0 * step), steps=4)
    want = [10 * i + jr.uniform(jr.fold_in(KEY, i)) for i in range(4)]
    assert_close(history.loss, np.array(want))


def test_lists_begin_again_and_iterators_run_out():
    loss = lambda model, batch, key: model["w"] * 0 + batch  # noqa: E731
    batches = [jnp.array(float(i)) for i in range(3)]
    _, history = train(loss, batches, steps=7)
    assert history.loss.tolist() == [0, 1, 2, 0, 1, 2, 0]
    _, history = train(loss, iter(batches), steps=3)
    assert history.loss.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="ran out of batches after 3 of 7 steps"):
        train(loss, iter(batches), steps=7)
    with pytest.raises(ValueError, match="ran out of batches after 0 of 7 steps"):
        train(loss, [], steps=7)


def test_reports_come_at_their_steps(capsys):
    reports = []
    train(steps=7, every=3, report=reports.append, validate=lambda model: model["w"])
    assert [(r.step, r.steps) for r in reports] == [(3, 7), (6, 7), (7, 7)]
    _, history = train(steps=7)
    assert np.isclose(reports[1].loss, history.loss[3:6].mean())
    assert np.isclose(reports[1].gradient_norm, history.gradient_norm[3:6].mean())
    # Here the figure rises, so the first one stays the best.
    assert reports[2].validation > reports[2].best == reports[0].validation
    train(steps=2, report=wj.print_progress)
    assert capsys.readouterr().err.startswith("step 2/2  loss ")


def test_the_best_model_is_kept():
    figures = iter([3.0, 1.0, 2.0, 1.0])
    models = []

    def validate(model):
        models.append(model)
        return next(figures)

    model, history = train(steps=8, every=2, validate=validate)
    assert history.validation == ((2, 3.0), (4, 1.0), (6, 2.0), (8, 1.0))
    # The first of equal figures.
    assert history.best_step == 4
    assert_same(model, models[1])


def test_a_training_without_progress_stops_early():
    figures = iter([3.0, 1.0, 2.0, 1.0, 0.0])
    options = {"every": 2, "patience": 2, "validate": lambda model: next(figures)}
    _, history = train(steps=10, **options)
    assert history.stopped_early and history.best_step == 4
    assert len(history.validation) == 4
    assert history.loss.shape == history.gradient_norm.shape == (8,)


@pytest.mark.parametrize("every", (1, 3, 100))
def test_a_loss_that_is_not_finite_names_the_step(every):
    def loss(model, batch, key):
        return model["w"] ** 2 + jnp.where(batch == 4, jnp.inf, 0)

    batches = lambda step: jnp.array(step)  # noqa: E731
    with pytest.raises(FloatingPointError, match="step 4: the loss was inf") as caught:
        train(loss, batches, every=every, steps=9)
    assert "`fit(" in str(caught.value) and "optax" in str(caught.value)


def test_a_gradient_that_is_not_finite_names_the_step():
    loss = lambda model, batch, key: jnp.sqrt(model["w"])  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"step 0: .*norm inf"):
        train(loss)


def test_a_check_that_fails_inside_a_step_names_it():
    def loss(model, batch, key):
        return wj.cross_entropy(model["w"] * jnp.ones(3), batch)

    batches = lambda step: jnp.array(step)  # noqa: E731
    message = r"stopped at step 3: `cross_entropy.* 0 <= label < 3"
    with pytest.raises(FloatingPointError, match=message):
        train(loss, batches)


def test_a_validation_of_nan_names_the_step():
    with pytest.raises(FloatingPointError, match="step 2: `validate` gave NaN"):
        train(every=2, validate=lambda model: float("nan"))


def test_schedules_that_look_at_the_loss_work():
    def flat(model, batch, key):
        """Has the value one and the slope one everywhere."""
        return model["w"] - jax.lax.stop_gradient(model["w"]) + 1

    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=2, cooldown=0)
    steady, _ = train(flat)
    slowed, _ = train(flat, optimizer=optax.chain(optax.sgd(0.1), plateau))
    assert_close(steady["w"], np.array(-0.6))
    assert -0.6 < slowed["w"] < -0.1


def test_training_in_double_precision(double):
    model, history = train(model={"w": jnp.zeros(())}, steps=200)
    assert abs(model["w"] - 3) < 1e-12
    assert history.loss.dtype == model["w"].dtype == np.float64
