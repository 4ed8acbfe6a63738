"""A training that is cut off and resumed ends as one that never was, to the last bit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj

from .helpers import assert_same


KEY = jr.key(3)
STEPS, EVERY = 12, 3
XS = jr.normal(jr.key(1), (20, 2))


def from_grain():
    grain = pytest.importorskip("grain", reason="Grain is optional")
    dataset = grain.MapDataset.source(np.asarray(XS)).shuffle(seed=2).repeat().batch(6)
    return lambda step: dataset[step]


SUPPLIES = {
    "Batches": lambda: wj.Batches(XS, 6, key=jr.key(2)),
    "function": lambda: lambda step: XS[step : step + 6],
    "list": lambda: [XS[i : i + 6] for i in range(5)],
    "iterator": lambda: iter([XS[i : i + 6] for i in range(14)]),
    "Grain": from_grain,
}


class Killed(BaseException):
    pass


class Model(eqx.Module):
    """A model with all that a checkpoint must carry, and nothing else."""

    layer: eqx.nn.Linear
    half: jax.Array
    key: jax.Array
    activation: object
    number: float

    def __init__(self, seed=0, size=3):
        key = jr.key(seed)
        self.layer = eqx.nn.Linear(2, size, key=key)
        self.half = jr.normal(key, (size,), jnp.bfloat16)
        self.key = key
        self.activation = jnp.tanh
        self.number = 0.5


def loss(model, batch, key):
    noise = jr.normal(key, (batch.shape[0], model.half.shape[0]))
    y = model.activation(jax.vmap(model.layer)(batch)) * model.half[None] + noise
    return jnp.mean(y**2) * model.number


def validate(model):
    # Best in the middle, so that the best model must survive as well.
    return abs(float(jnp.sum(model.layer.weight**2)) - 0.9)


def train(folder=None, supply="Batches", model=None, kill_at=None, steps=STEPS, **more):
    """Trains, but is killed just before the checkpoint of one step is written."""

    def report(progress):
        if progress.step == kill_at:
            raise Killed

    options = {"validate": validate, "every": EVERY, "report": report} | more
    model = Model() if model is None else model
    options |= {"checkpoint": folder, "steps": steps, "key": KEY}
    return wj.fit(model, loss, SUPPLIES[supply](), optax.adam(0.05), **options)


def assert_same_training(got, want):
    (model, history), (want_model, want_history) = got, want
    model, want_model = (
        eqx.tree_at(lambda m: m.key, m, jr.key_data(m.key)) for m in (model, want_model)
    )
    assert_same(model, want_model)
    assert_same(history, want_history)


@pytest.mark.parametrize("supply", SUPPLIES)
def test_a_resumed_training_ends_as_an_undisturbed_one(supply, tmp_path):
    want = train(supply=supply)
    for kill_at in (3, 6, 12):
        with pytest.raises(Killed):
            train(tmp_path, supply, kill_at=kill_at, resume=True)
    # The model given only lends its structure.
    got = train(tmp_path, supply, Model(seed=9), resume=True)
    assert_same_training(got, want)
    assert_same_training(train(tmp_path, supply, Model(seed=9), resume=True), want)


def test_a_training_may_go_on_for_more_steps(tmp_path):
    want = train(validate=None)
    for steps in (2, 7, 9):
        train(tmp_path, steps=steps, every=2, validate=None, resume=True)
    got = train(tmp_path, every=2, validate=None, resume=True)
    assert_same_training(got, want)
    with pytest.raises(ValueError, match=r"at least the 12 .* got steps=5"):
        train(tmp_path, steps=5, resume=True)


def test_a_training_that_lost_patience_stays_so(tmp_path):
    options = {"validate": lambda model: 1.0, "every": 2, "patience": 2}
    want = train(tmp_path, **options)
    assert want[1].stopped_early and len(want[1].loss) == 6
    assert_same_training(train(tmp_path, resume=True, **options), want)


def test_the_newest_checkpoints_remain(tmp_path):
    train(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "9"]


def test_a_folder_with_checkpoints_is_not_begun_anew(tmp_path):
    train(tmp_path)
    with pytest.raises(ValueError, match=r"`fit.*found checkpoints in .*resume=True"):
        train(tmp_path)


def test_resuming_from_an_empty_folder_begins(tmp_path):
    assert_same_training(train(tmp_path / "new", resume=True), train())


@pytest.mark.parametrize(
    "model", (Model(size=4), {"w": jnp.ones(3)}), ids=("other size", "other structure")
)
def test_a_foreign_checkpoint_is_refused(model, tmp_path):
    train(tmp_path)
    with pytest.raises(ValueError, match="needs `like` to be built as the model in"):
        train(tmp_path, model=model, resume=True)


def test_the_last_checkpoint_before_a_bad_step_is_finite(tmp_path):
    def batches(step):
        return jnp.full((6, 2), np.nan if step == 7 else 1.0)

    options = {"steps": STEPS, "every": EVERY, "key": KEY, "report": None}
    options |= {"checkpoint": tmp_path}
    with pytest.raises(FloatingPointError, match="step 7"):
        wj.fit(Model(), loss, batches, optax.adam(0.05), **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "6"]
    good = lambda step: jnp.full((6, 2), 1.0)  # noqa: E731
    _, history = wj.fit(Model(), loss, good, optax.adam(0.05), resume=True, **options)
    assert np.all(np.isfinite(history.loss))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"`fit\(checkpoint=...\)`.*file"):
        train(tmp_path / "file")


def test_what_a_kill_left_too_many_is_removed(tmp_path):
    """As of one between the last checkpoint and the removal of the one that it replaces."""
    want = train(tmp_path, keep=3)
    assert len(list(tmp_path.iterdir())) == 3
    assert_same_training(train(tmp_path, resume=True, keep=2), want)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "9"]
