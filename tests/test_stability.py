"""Spectra, a bound on them, and the step at which a state leaves the finite."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import warp_jax as wj
from experiments.__main__ import main

from .helpers import (
    assert_close,
    assert_same,
    equations,
    make_model,
    make_sequence,
    named_arrays,
    perturbed,
    subprograms,
    TRANSITIONS,
    x64,
)
from .oracle import Choices, run


SIZE = 14


def make_transition(name, *, scale=0.3):
    """Returns a transition off its start, with the same numbers in both precisions."""
    with x64(False):
        made = perturbed(TRANSITIONS[name](SIZE, 2), scale=scale)
    weights, rest = eqx.partition(made, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf.astype(float), weights), rest)


def dense(A):
    made = wj.DenseTransition(len(A), 1)
    return eqx.tree_at(lambda t: t.A, made, jnp.asarray(A, float))


def paired(got, want):
    """Returns how far two sets of as many complex numbers lie apart, each number taking
    its nearest one, which may be taken once.
    """
    assert len(got) == len(want)
    left, furthest = list(want), 0.0
    for value in got:
        i = int(np.argmin(np.abs(np.array(left) - value)))
        furthest = max(furthest, abs(left.pop(i) - value))
    return furthest


def clipped(A, radius):
    """Returns A with every eigenvalue brought to the circle that is outside of it."""
    values, vectors = np.linalg.eig(A)
    values = values * np.minimum(1, radius / np.abs(values))
    return (vectors * values @ np.linalg.inv(vectors)).real


@pytest.mark.parametrize(
    "name", ("dense", "diagonal", "cut_block", "low_rank", "spectral", "subspace_dense")
)
def test_a_spectrum_is_that_of_the_matrix(name, double):
    same_spectrum(wj.spectrum, make_transition(name), 1e-9)


@pytest.mark.parametrize("name", ("dense", "low_rank"))
def test_a_spectrum_in_single_precision_and_compiled(name):
    same_spectrum(eqx.filter_jit(wj.spectrum), make_transition(name), 1e-4)


def same_spectrum(spectrum, transition, tolerance):
    want = np.linalg.eigvals(np.asarray(transition.matrix(), np.float64))
    got = spectrum(transition)
    values = np.repeat(np.asarray(got.eigenvalues), np.asarray(got.multiplicity))
    assert paired(values, want) < tolerance
    assert_close(got.radius, np.max(np.abs(want)))
    assert np.all(np.diff(got.modulus) <= 0)


def test_a_spectrum_costs_what_the_structure_allows():
    """None of twenty thousand weights makes a matrix of them."""
    key, size = jr.key(0), 20_000
    transition = wj.LowRankTransition(size, 2, 4, key=key)
    found = wj.spectrum(transition)
    assert found.multiplicity.tolist().count(1) == 4
    assert int(jnp.sum(found.multiplicity)) == size
    modes = wj.SpectralTransition(4, 2, length=20, key=key)
    subspace = wj.ModeDropout(wj.SubspaceTransition(size, modes, key=key), 0.5)
    assert wj.spectrum(subspace).multiplicity.tolist() == [size - 4, 1, 1, 1, 1]
    assert len(wj.spectrum(wj.DiagonalTransition(size, 2)).eigenvalues) == size
    kept = wj.spectrum(wj.SumTransition(size, 0.5))
    assert kept.eigenvalues.tolist() == [0.5] and kept.multiplicity.tolist() == [size]


def test_time_scales_are_what_a_state_does(double):
    """From a state of ones, a mode is at 1/e after its decay, and round after its turn."""
    angle = 2 * np.pi / 12
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    A = np.zeros((6, 6))
    A[:2, :2] = turn * np.exp(-1 / 40)
    A[2, 2], A[3, 3], A[4, 4] = 1, -np.exp(1 / 8), 0
    A[5, 5] = np.exp(-1 / 5)
    found = wj.spectrum(dense(A))
    assert_close(found.modulus, np.abs(found.eigenvalues))
    np.testing.assert_allclose(found.decay, [-8, np.inf, 40, 40, 5, 0], rtol=1e-10)
    np.testing.assert_allclose(found.turn[:4], [2, np.inf, 12, 12], rtol=1e-10)
    after = np.linalg.matrix_power(A, 12)
    np.testing.assert_allclose(after[:2, :2], np.eye(2) * np.exp(-12 / 40), atol=1e-12)


def test_a_spectrum_reads_well():
    said = repr(wj.spectrum(dense(np.diag([1.0, -1.25, 0.5]))))
    first, head, *rows = said.splitlines()
    assert first == "Spectrum of 3 eigenvalues, radius 1.25"
    assert "falls to 1/e in" in head
    assert rows[0].split() == "1.25 grows, 4.481 2 steps 1".split()
    assert rows[1].split() == "1 never never 1".split()
    assert rows[2].split() == "0.5 1.443 steps never 1".split()
    many = repr(wj.spectrum(wj.LowRankTransition(4898, 2, 32, key=jr.key(0))))
    assert "4,898 eigenvalues" in many and "and 9 more" in many
    assert "grows" not in many


def test_a_spectrum_is_of_a_transition_that_is_finite():
    with pytest.raises(TypeError, match=r"`spectrum\(transition\)`.*got a WARP"):
        wj.spectrum(make_model())  # type: ignore
    with pytest.raises(ValueError, match="got a DenseTransition with NaN"):
        wj.spectrum(dense([[1, jnp.nan], [0, 1]]))


BOUNDED = ("dense", "diagonal", "cut_block", "low_rank")


@pytest.mark.parametrize("name, radius", list(zip(BOUNDED, (1.0, 0.9) * 2)))
def test_a_bound_brings_back_what_exceeds_and_nothing_else(name, radius, precision):
    transition = make_transition(name)
    assert wj.spectrum(transition).radius > 1.1
    bounded = eqx.filter_jit(wj.RadiusBound(radius))(transition)
    assert jax.tree.structure(bounded) == jax.tree.structure(transition)
    A = np.asarray(transition.matrix(), np.float64)
    assert_close(bounded.matrix(), clipped(A, radius))
    assert_same(bounded.input_matrix(), transition.input_matrix())
    rounding = 50 * float(jnp.finfo(jnp.result_type(float)).eps)
    assert wj.spectrum(bounded).radius <= radius * (1 + rounding)
    again = eqx.filter_jit(wj.RadiusBound(radius))(bounded)
    assert_close(again, bounded)


@pytest.mark.parametrize("name", ("dense", "block", "high_rank", "subspace_dense"))
def test_a_bound_that_is_kept_changes_nothing(name):
    transition = make_transition(name)
    radius = 1.01 * float(wj.spectrum(transition).radius)
    assert_close(wj.RadiusBound(radius)(transition).matrix(), transition.matrix())


@pytest.mark.parametrize("name", ("spectral", "oscillatory"))
def test_modes_are_bounded_by_what_is_learnt(name, double):
    transition = make_transition(name)
    assert_same(wj.RadiusBound(1.0)(transition), transition)
    radius = float(jnp.median(wj.spectrum(transition).modulus))
    bounded = wj.spectrum(wj.RadiusBound(radius)(transition))
    before = wj.spectrum(transition)
    want = jnp.minimum(before.modulus, radius)
    assert_close(bounded.modulus, want)
    continuous = wj.RadiusBound(radius)(wj.ContinuousTime(transition, 0.5))
    assert_same(wj.spectrum(continuous), bounded)
    if name == "spectral":
        phases = jnp.sort(jnp.angle(before.eigenvalues))
        assert_close(jnp.sort(jnp.angle(bounded.eigenvalues)), phases)


def test_what_has_no_eigenvectors_shrinks_as_a_whole(precision):
    jordan = np.array([[1.25, 1, 0], [0, 1.25, 1], [0, 0, 1.25]])
    bounded = wj.RadiusBound(1.0)(dense(jordan))
    # To a third of the digits that there are: that is what eigenvalues of it have.
    near = 10 * float(jnp.finfo(jnp.result_type(float)).eps) ** (1 / 3)
    np.testing.assert_allclose(bounded.A, jordan / 1.25, atol=near)
    assert np.all(np.isfinite(bounded.A))


def test_every_transition_in_a_model_is_bounded():
    model = make_model(Choices("low_rank"))
    stack = wj.Bidirectional(model, make_model(Choices("subspace_dense"), seed=1))
    grown = jax.tree.map(lambda a: 1.2 * a if eqx.is_inexact_array(a) else a, stack)
    bounded = wj.RadiusBound(0.95)(grown)
    for part in (bounded.forward.transition, bounded.backward.transition.dynamics):
        assert wj.spectrum(part).radius <= 0.95 + 1e-5
    assert_same(bounded.forward.decoder, grown.forward.decoder)
    kept = wj.SumTransition(3, jnp.array(0.9))
    assert wj.spectrum(wj.RadiusBound(0.5)(kept)).radius == 0.5
    assert wj.RadiusBound(0.5)(wj.SumTransition(3, 0.9)).keep == 0.5


def test_a_bound_says_what_it_cannot_bound():
    with pytest.raises(ValueError, match="needs a positive `radius`; got radius=-1"):
        wj.RadiusBound(-1)
    with pytest.raises(TypeError, match="needs a model with a transition; got a dict"):
        wj.RadiusBound(1.0)({"a": jnp.ones(2)})

    class Own(wj.SumTransition):
        bounded = wj.AbstractTransition.bounded  # type: ignore

    with pytest.raises(TypeError, match="does not know how to bound a Own"):
        wj.RadiusBound(1.0)(Own(2))  # type: ignore


def test_a_training_keeps_the_bound():
    """The loss rewards growth, so that without a bound the radius leaves the circle."""
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(12)

    def loss(model, batch, key):
        return -jnp.mean(model.weights(batch, ts) ** 2)

    def train(**more):
        options = {"steps": 15, "key": jr.key(0), "report": None, **more}
        return wj.fit(model, loss, [xs], optax.adam(0.03), **options)[0]

    assert wj.spectrum(train().transition).radius > 1.05
    bounded = train(project=wj.RadiusBound(0.99))
    assert wj.spectrum(bounded.transition).radius <= 0.99 + 1e-5


def grown(choices, factor):
    """Returns a model whose state grows by the factor in each step, roughly."""
    model = make_model(choices)
    return eqx.tree_at(lambda m: m.transition.A, model, replace_fn=lambda A: factor * A)


def step_of(caught):
    """Returns the step that an error names."""
    return str(caught.value).partition("not finite, at step ")[2].partition(".")[0]


def grown_weights(choices, arrays, xs, ts, mask=None):
    """Returns states far beyond single precision, of which no output can be made."""
    with np.errstate(all="ignore"):
        return run(choices, arrays, np.float64(xs), np.float64(ts), mask=mask)[0]


def first_bad(model, xs, ts, mask=None):
    """Returns the first step whose state is beyond single precision, by the oracle."""
    arrays = named_arrays(model)
    thetas = grown_weights(Choices(), arrays, xs, ts, mask)
    over = np.any(np.abs(thetas) > np.finfo(np.float32).max, axis=1)
    return int(np.argmax(over))


ERRORS = (ValueError, eqx.EquinoxRuntimeError)


@pytest.mark.parametrize("jit", (False, True))
def test_the_step_is_named_at_which_a_state_leaves_the_finite(jit):
    model, (xs, ts) = grown(Choices(), 8.0), make_sequence(60)
    xs, mask = np.array(xs), np.arange(60) % 7 != 3
    xs[~mask] = np.nan
    step = first_bad(model, xs, ts, mask)
    assert 20 < step < 55
    calls = (
        lambda model, xs: model(xs, ts, mask=mask),
        lambda model, xs: model.last(xs, ts, mask=mask),
        lambda model, xs: model.weights(xs, ts, mask=mask),
    )
    for call in calls if jit else calls[:1]:
        call = eqx.filter_jit(call) if jit else call
        with pytest.raises(ERRORS) as caught:
            call(model, xs)
        assert step_of(caught) == f"{step} of 60"


def test_a_sequence_that_is_continued_counts_its_own_steps():
    model, (xs, ts) = grown(Choices(), 8.0), make_sequence(60)
    step = first_bad(model, xs, ts)
    state = model.final(xs[:10], ts[:10])
    with pytest.raises(ValueError) as caught:
        model(xs[10:], ts[10:], state=state)
    assert step_of(caught) == f"{step - 10} of 50"


def test_a_sequence_that_begins_after_others_counts_with_them():
    model, (xs, ts) = grown(Choices(), 8.0), make_sequence(60)
    step = 12 + first_bad(model, xs[12:], ts[12:])
    with pytest.raises(ValueError) as caught:
        model(xs, ts, reset=jnp.arange(60) == 12)
    assert step_of(caught) == f"{step} of 60"


@pytest.mark.parametrize("roll", (wj.SequentialRoll(), wj.ChunkedRoll(4)))
def test_of_a_batch_in_training_the_earliest_step_is_named(roll):
    model, (xs, ts) = grown(Choices(), 8.0), make_sequence(60)
    model = eqx.tree_at(lambda m: m.roll, model, roll)
    # The first sequence lasts longest, and the second stays finite.
    batch = jnp.stack([xs[:30] * 1e-3, 0 * xs[:30], xs[:30] * 1e18])
    batch = batch.at[:, 0].set(0)
    model = eqx.tree_at(lambda m: m.initial, model, wj.LearntInitial(jnp.zeros(SIZE)))
    steps = [first_bad(model, x, ts[:30]) for x in batch]
    assert 0 < steps[2] < 28 and steps[:2] == [0, 0]

    def loss(model, batch, key):
        each = jax.vmap(jax.vmap(lambda xs: model.weights(xs, ts[:30])))(batch[None])
        return jnp.mean(jnp.tanh(each))

    def descend(batch):
        options = {"steps": 1, "key": jr.key(0), "report": None}
        return wj.fit(model, loss, [batch], optax.sgd(0.0), **options)

    assert jnp.isfinite(eqx.filter_jit(loss)(model, batch[:2], None))
    message = rf"stopped at step 0: .* at step {steps[2]} of 30\."
    with pytest.raises(FloatingPointError, match=message):
        descend(batch)


def test_coefficients_leave_the_finite_about_when_the_weights_do():
    model, (xs, ts) = make_model(Choices("low_rank")), make_sequence(60)
    scale = lambda t: (t.a, t.U)  # noqa: E731
    grown = eqx.tree_at(
        scale, model.transition, [8 * a for a in scale(model.transition)]
    )
    model = eqx.tree_at(lambda m: m.transition, model, grown)
    thetas = grown_weights(Choices("low_rank"), named_arrays(model), xs, ts)
    over = np.any(np.abs(thetas) > np.finfo(np.float32).max, axis=1)
    with pytest.raises(ValueError) as caught:
        model(xs, ts)
    assert abs(int(step_of(caught).split()[0]) - int(np.argmax(over))) <= 2


def test_a_forecast_names_the_step_too():
    model, (xs, ts) = grown(Choices(), 8.0), make_sequence(60)
    with pytest.raises(ValueError, match=r"finite numbers, at step (\d+) of 50\."):
        wj.forecast(model, xs[:10], 50, ts)


def test_nothing_is_looked_for_where_all_is_finite():
    """The search is a branch, in a batch too, and leaves nothing for a backward pass."""
    model, (xs, ts) = make_model(), make_sequence(6)
    batch = jnp.stack([xs, -xs])

    def loss(model):
        return jnp.mean(jax.vmap(lambda xs: model.last(xs, ts))(batch) ** 2)

    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    slope = jax.grad(lambda weights: loss(eqx.combine(weights, rest)))
    (search,) = [
        equation
        for equation in equations(jax.make_jaxpr(slope)(weights).jaxpr)
        if equation.primitive.name == "cond"
        and any(
            e.primitive.name == "scan" for p in subprograms(equation) for e in p.eqns
        )
    ]
    assert search.invars[0].aval.shape == ()
    assert [out.aval.dtype for out in search.outvars] == [jnp.result_type(int)]


@pytest.mark.slow
def test_gradients_at_the_start_are_measured(tmp_path):
    with jax.numpy_rank_promotion("allow"):
        main(["gradients", "--models", "low rank", "--out", str(tmp_path / "run")])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = {row["model"]: row["metrics"] for row in summary["results"]}
    assert set(rows) == {f"{task}: low rank" for task in ("start", "moved", "bounded")}
    assert rows["bounded: low rank"]["radius_256"] <= 1 + 1e-6
    assert rows["moved: low rank"]["gradient_256"] > 0
