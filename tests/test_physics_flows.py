"""Decoders that know a law give what the law says, and its derivatives."""

import itertools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import warp_jax as wj
from warp_jax.physics.oscillator import oscillate

from .helpers import assert_close
from .laws import companion, constant, expm, make_decoder, make_state, physics, slope


STEPS = (-0.05, 0.0, 1 / 255, 0.1, 1.0)
# (omega squared, gamma): free, steady, under-, critically, nearly critically, over-damped.
REGIMES = [
    (0.0, 0.0),
    (0.0, 3.0),
    (400.0, 0.0),
    (400.0, 1.0),
    (400.0, 40.0),
    (400.0, 40.0 * (1 + 1e-9)),
    (400.0, 40.001),
    (400.0, 39.0),
    (400.0, 50.0),
    (1.0, 2.0),
    (1.0, 300.0),
    (1e-3, 5.0),
]
run = jax.jit(oscillate)
slopes = jax.jit(jax.jacfwd(oscillate, argnums=(0, 1, 2, 3, 4)))
back = jax.jit(jax.jacrev(oscillate, argnums=(0, 1, 2, 3, 4)))


def by_expm(x, v, stiffness, damping, time):
    return expm(companion(stiffness, damping) * time) @ np.array([x, v])


@pytest.mark.parametrize("stiffness, damping", REGIMES)
def test_the_oscillator_is_its_matrix_exponential(stiffness, damping, precision):
    for time in STEPS:
        values = 0.7, -1.3, stiffness, damping, time
        assert_close(run(*map(jnp.asarray, values)), by_expm(*values))


@pytest.mark.parametrize("stiffness, damping", REGIMES)
def test_its_derivatives_are_those_of_the_exponential(stiffness, damping, double):
    for time in STEPS:
        values = 0.7, -1.3, stiffness, damping, time
        want = [slope(by_expm, values, i) for i in range(5)]
        for got in (slopes, back):
            told = [np.asarray(s) for s in got(*map(jnp.asarray, values))]
            np.testing.assert_allclose(told, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("stiffness, damping", [(1e4, 1e6), (1.0, 1e5), (1e-4, 1e3)])
def test_strong_damping_keeps_its_digits_in_single_precision(stiffness, damping):
    values = 0.7, 1.3, stiffness, damping, 2.0
    got = np.asarray(run(*map(jnp.float32, values)))
    # The slow root alone is left, and the exponential cannot reach it in double.
    root = 2 * stiffness / (damping + np.sqrt(damping**2 - 4 * stiffness))
    share = (1.3 + 0.7 * (damping - root)) / (damping - 2 * root)
    x = share * np.exp(-2 * root)
    np.testing.assert_allclose(got, [x, -root * x], rtol=3e-6)
    assert all(np.all(np.isfinite(s)) for s in back(*map(jnp.float32, values)))


def test_energy_never_grows(precision):
    for mass, stiffness, damping in itertools.product(
        (0.02, 1.0), (2.0, 16.0), (0.0, 0.01, 2.0)
    ):
        x, times = np.array([0.4, -1.0]), np.linspace(0, 3, 200)
        M = companion(stiffness / mass, damping / mass)
        many = jax.vmap(oscillate, (None, None, None, None, 0))
        told = many(x[0], x[1], -M[1, 0], -M[1, 1], jnp.asarray(times))
        path = np.asarray(told)
        energy = stiffness * path[:, 0] ** 2 + mass * path[:, 1] ** 2
        tolerance = 1e-12 if path.dtype == np.float64 else 1e-5
        assert np.all(np.diff(energy) <= tolerance * energy[0])
        if not damping:
            np.testing.assert_allclose(energy, energy[0], rtol=tolerance)


def test_the_decoder_carries_the_latest_observation(precision):
    decoder, state = constant(
        {"m": 0.03, "k": 9.0, "c": 0.1}, physics.OscillatorDecoder, time_scale=2.0
    )
    state = wj.State(state.theta, jnp.array([0.6, -4.0]), jnp.array(0.3))
    told = decoder.parameters(state)
    assert_close(told, {name: np.array(v) for name, v in zip("mkc", (0.03, 9, 0.1))})
    for time in (0.3, 0.35, 0.9):
        want = by_expm(0.6, -4.0, 300.0, 0.1 / 0.03, 2 * (time - 0.3))
        assert_close(decoder(state, jnp.array([time])), want)


def test_a_time_scale_is_a_unit_of_the_velocity(double):
    values = {"m": 0.03, "k": 9.0, "c": 0.1}
    plain, state = constant(values, physics.OscillatorDecoder)
    scaled, _ = constant(
        {"m": 0.03, "k": 9.0 / 400, "c": 0.1 / 20},
        physics.OscillatorDecoder,
        time_scale=20.0,
    )
    later, unit = jnp.array([0.4]), jnp.array([1.0, 20.0])
    first = wj.State(state.theta, jnp.array([0.6, -4.0]), jnp.array(0.3))
    second = wj.State(state.theta, first.x / unit, first.t)
    assert_close(scaled(second, later) * unit, plain(first, later))


def test_a_sinusoid_is_a_sine(precision):
    values = {"phase": 0.4, "frequency": 1.5, "amplitude": 2.0}
    decoder, state = constant(values, physics.SinusoidDecoder)
    for time in (0.0, 0.3, 1.7):
        want = np.array([2 * np.sin(2 * np.pi * 1.5 * time + 0.4)])
        assert_close(decoder(state, jnp.array([time])), want)


def test_parameters_do_not_depend_on_when_the_law_is_read(double):
    network = eqx.nn.MLP(1, 1, 3, 1, jax.nn.silu, key=jax.random.key(0))
    held, free = (physics.SinusoidDecoder(network, at=at) for at in (0.0, None))
    state = make_state(held, [0.0])
    phases = [
        [float(d.parameters(state, jnp.array([t]))["phase"]) for t in (0.0, 0.7)]
        for d in (held, free)
    ]
    assert phases[0][0] == phases[0][1] == phases[1][0] != phases[1][1]
    angle = np.arcsin(np.asarray(free(state, jnp.array([0.1])))[0])
    told = free.parameters(state, jnp.array([0.1]))["phase"]
    assert_close(np.sin(angle), np.sin(0.2 * np.pi + np.asarray(told)))


@pytest.mark.slow
@pytest.mark.parametrize("inputs, affine", [(0, False), (1, False), (2, True)])
def test_a_linear_law_is_its_matrix_exponential(inputs, affine, precision):
    noise = np.random.default_rng(0)
    M = noise.standard_normal((2, 2 + inputs + affine)).astype(np.float32)
    M = M.astype(float)
    start = noise.standard_normal(2 + inputs).astype(np.float32)

    def want(time, *entries):
        square = np.zeros((M.shape[1],) * 2, np.asarray(entries).dtype)
        square[:2] = np.reshape(entries, M.shape)
        return (expm(square * time) @ np.append(start, [1.0] * affine))[:2]

    def told(M, time):
        decoder = physics.LinearODEDecoder(
            None, 2, inputs=inputs, affine=affine, M=physics.Constant(M)
        )
        state = make_state(decoder, start, 0.25)
        return decoder(state, jnp.append(0.25 + time, 9.0)[:1])

    for time in (-0.5, 0.0, 0.5, 4.0):
        at = jnp.asarray(time, float)
        assert_close(told(M, at), want(time, *M.ravel()))
    decoder = physics.LinearODEDecoder(
        None, 2, inputs=inputs, affine=affine, M=physics.Constant(M)
    )
    state = make_state(decoder, start, 0.25)

    def at_half(raw):
        moved = eqx.tree_at(lambda d: d.law.kinds[0].raw, decoder, raw)
        return moved(state, jnp.array([0.75]))

    got = jax.jit(jax.jacrev(at_half))(jnp.asarray(M, float))
    entries = [slope(want, (0.5, *M.ravel()), 1 + i) for i in range(M.size)]
    assert_close(got, np.stack(entries, -1).reshape(2, *M.shape))


def by_scipy(start, values, time):
    grows, meets, dies, push = values

    def field(t, y):
        both = meets * y[0] * y[1]
        return [grows * y[0] - both + push, both - dies * y[1]]

    if time == 0:
        return np.array(start)
    solver = scipy.integrate.solve_ivp(
        field, (0, time), start, "DOP853", rtol=1e-12, atol=1e-13
    )
    return solver.y[:, -1]


@pytest.mark.parametrize("name", ("ode", "driven_ode"))
def test_a_general_law_is_solved(name, double):
    decoder = make_decoder(name)
    inputs = (0.4,) if name == "driven_ode" else ()
    state = make_state(decoder, (1.2, 0.5, *inputs))
    told = decoder.parameters(state)
    values = [float(told[n]) for n in ("grows", "meets", "dies")] + [sum(inputs)]
    read = jax.jit(lambda time: decoder(state, time))
    for time in (0.0, 0.2, 0.25, 3.2):
        want = by_scipy((1.2, 0.5), values, time - 0.2)
        np.testing.assert_allclose(read(jnp.array([time])), want, rtol=1e-6)


@pytest.mark.slow
def test_a_general_law_has_its_derivatives(double):
    decoder = make_decoder("ode")
    state = make_state(decoder, (1.2, 0.5))
    raw = state.theta

    def told(theta, x, time):
        return decoder(wj.State(theta, x, state.t), time[None])

    got = jax.jit(jax.jacrev(told, argnums=(0, 1, 2)))(raw, state.x, jnp.array(1.2))

    def numbers(theta, x, time):
        p = decoder.parameters(wj.State(jnp.asarray(theta), state.x, state.t))
        values = [float(p[n]) for n in ("grows", "meets", "dies")] + [0.0]
        return by_scipy(x, values, time - 0.2)

    h, at = 1e-5, (np.asarray(raw), np.asarray(state.x), 1.2)
    for part, slopes_ in enumerate(got[:2]):
        for i in range(np.size(at[part])):
            ends = []
            for sign in (1, -1):
                moved = [np.array(a) for a in at]
                moved[part][i] += sign * h
                ends.append(numbers(moved[0], moved[1], 1.2))
            want = (ends[0] - ends[1]) / (2 * h)
            np.testing.assert_allclose(slopes_[:, i], want, rtol=1e-5, atol=1e-7)
    p = decoder.parameters(state)
    y = told(raw, state.x, jnp.array(1.2))
    both = p["meets"] * y[0] * y[1]
    field = np.array([p["grows"] * y[0] - both, both - p["dies"] * y[1]])
    np.testing.assert_allclose(got[2], field, rtol=1e-6)


@pytest.mark.slow
def test_solver_steps_and_adjoint_can_be_chosen(double):
    values = {"m": 1.0, "k": 4.0, "c": 0.5}
    want, state = constant(values, physics.OscillatorDecoder)
    state = wj.State(state.theta, jnp.array([0.6, -1.0]), jnp.array(0.3))

    class Spring(eqx.Module):
        def __call__(self, t, y, p):
            return jnp.stack([y[1], -(p["k"] * y[0] + p["c"] * y[1]) / p["m"]])

    exact = diffrax.PIDController(rtol=1e-10, atol=1e-10)
    choices: tuple[dict[str, Any], ...] = (
        {"solver": diffrax.Dopri8(), "stepsize_controller": exact},
        {"stepsize_controller": diffrax.ConstantStepSize(), "dt0": 0.01},
        {"adjoint": diffrax.BacksolveAdjoint()},
    )
    for options in choices:
        kinds = {n: physics.Constant(v, physics.Positive()) for n, v in values.items()}
        decoder = physics.ODEDecoder(None, Spring(), parameters=kinds, **options)
        read = lambda d: jnp.sum(d(state, jnp.array([0.8])))  # noqa: E731
        value, slopes_ = eqx.filter_jit(eqx.filter_value_and_grad(read))(decoder)
        assert abs(value - jnp.sum(want(state, jnp.array([0.8])))) < 1e-7
        assert len(jax.tree.leaves(slopes_)) == 3
        assert all(np.all(np.isfinite(s)) for s in jax.tree.leaves(slopes_))
