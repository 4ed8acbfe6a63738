"""Laws identified from sufficient statistics, against NumPy's least squares."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj
from warp_jax._transition import log_one_plus

from .helpers import assert_close, assert_same, x64
from .laws import companion, decoder_of, expm, physics, spring


CONSTANTS = [(0.03, 9.0, 0.1), (0.01, 18.0, 0.01), (0.05, 2.0, 0.3), (0.02, 4.0, 0.2)]
DT = 1 / 255
CONTEXT = 100


@eqx.filter_jit
def forecasts(model, xs):
    """Returns what follows the first hundred of 256 observations, of many sequences."""
    known = xs[:, CONTEXT:, decoder_of(model).out_size :]
    run = lambda xs, k: wj.forecast(model, xs[:CONTEXT], 256 - CONTEXT, known=k)  # noqa: E731
    return jax.vmap(run)(xs, known)


def errors(got, want):
    """Returns the largest error of each sequence, relative to each channel's size."""
    size = np.max(np.abs(want), axis=1, keepdims=True)
    return np.max(np.abs(np.asarray(got, np.float64) - want) / size, axis=(1, 2))


def by_numpy(xs, lift=lambda x: x):
    """Returns the step's matrix by NumPy's own least squares, in scaled features."""
    features = np.stack([lift(x) for x in xs[:-1]])
    scale = np.linalg.norm(features, axis=0)
    solved = np.linalg.lstsq(features / scale, np.diff(xs, axis=0), rcond=None)[0]
    return (solved / scale[:, None]).T


@pytest.mark.parametrize("dt", (None, DT))
def test_clean_data_is_forecast_to_the_last_digits(dt, precision):
    springs = np.stack([spring(*constants) for constants in CONSTANTS])
    model = physics.least_squares(physics.Steps(2, dt=dt))
    found = errors(forecasts(model, jnp.asarray(springs)), springs[:, CONTEXT:])
    exact = jax.config.read("jax_enable_x64")
    assert np.max(found) < (1e-12 if exact else 1e-5)


def test_the_constants_of_clean_data_are_found(precision):
    model = physics.least_squares(physics.Steps(2, dt=DT))
    for mass, stiffness, damping in CONSTANTS:
        xs = jnp.asarray(spring(mass, stiffness, damping))
        told = decoder_of(model).parameters(jax.jit(model.final)(xs))
        M = companion(stiffness / mass, damping / mass)
        np.testing.assert_allclose(
            told["M"], M, rtol=1e-3, atol=2e-4 * stiffness / mass
        )
        constants = physics.oscillator_constants(told["M"])
        want = stiffness / mass, damping / mass
        np.testing.assert_allclose([*constants.values()], want, rtol=1e-4)


def test_with_noise_it_is_the_least_squares_solution(double):
    noise = np.random.default_rng(0)
    clean = np.stack([spring(*constants) for constants in CONSTANTS])
    xs = clean + 0.01 * clean.std(1, keepdims=True) * noise.standard_normal(clean.shape)
    model = physics.least_squares(physics.Steps(2))
    told = jax.jit(jax.vmap(lambda xs: decoder_of(model).parameters(model.final(xs))))
    for step, x in zip(told(jnp.asarray(xs))["step"], xs):
        np.testing.assert_allclose(step, by_numpy(x), rtol=1e-9)


@pytest.mark.slow
def test_with_noise_the_constants_are_near(double):
    """One per cent of noise moves k/m by less than two per cent, in every sequence, and
    c/m, which moves far fewer digits of a step, in the middle one.
    """
    noise, clean = np.random.default_rng(0), spring(0.03, 9.0, 0.1)
    draws = noise.standard_normal((40, *clean.shape))
    xs = jnp.asarray(clean + 0.01 * clean.std(0) * draws)
    model = physics.least_squares(physics.Steps(2, dt=DT))

    @jax.jit
    @jax.vmap
    def told(xs):
        parameters = decoder_of(model).parameters(model.final(xs))
        return physics.oscillator_constants(parameters["M"])

    found = told(xs)
    assert np.max(np.abs(np.asarray(found["k/m"]) / 300.0 - 1)) < 0.02
    assert np.median(np.abs(np.asarray(found["c/m"]) / (0.1 / 0.03) - 1)) < 0.02


@pytest.mark.slow
def test_any_time_can_be_read(double):
    constants = CONSTANTS[0]
    xs = jnp.asarray(spring(*constants))
    model = physics.least_squares(physics.Steps(2, dt=DT))
    state = jax.jit(model.final)(xs[:50])
    # Fifty steps by default last from 0 to 1, so their times are told.
    state = jax.jit(model.final)(xs[:50], jnp.arange(50) * DT)
    M = companion(constants[1] / constants[0], constants[2] / constants[0])
    read = jax.jit(model.read)
    for steps in (-20, 0, 0.5, 1, 7, 30.3, 200):
        time = (49 + steps) * DT
        np.testing.assert_allclose(
            read(state, time), expm(M * time) @ [1.0, 0.0], rtol=1e-9, atol=1e-9
        )
    slope = jax.jit(jax.jacfwd(model.read, argnums=1))
    for steps in (0.5, 1, 2):
        time = (49 + steps) * DT
        want = M @ expm(M * time) @ [1.0, 0.0]
        np.testing.assert_allclose(slope(state, jnp.array(time)), want, rtol=1e-9)


@pytest.mark.parametrize("angle", (1e-6, 1.5))
@pytest.mark.parametrize("decay", (1.0, 0.2))
def test_the_logarithm_undoes_the_exponential(angle, decay, precision):
    M = np.log(decay) * np.eye(2) + angle * np.array([[0.3, 1.0], [-1.3, -0.3]])
    single = not jax.config.read("jax_enable_x64")
    got = log_one_plus(jnp.asarray(expm(M) - np.eye(2)))
    np.testing.assert_allclose(got, M, atol=1e-6 if single else 1e-11)


@pytest.mark.slow
def test_inputs_and_a_constant_drive_a_law(double):
    noise = np.random.default_rng(0)
    M = np.array([[0.0, 1.0, 0.0, 0.2], [-300.0, -3.0, 40.0, -9.0]])
    square = np.vstack([M, np.zeros((2, 4))])
    step = expm(square * DT)[:2]
    push, xs = noise.standard_normal((256, 1)), [np.array([1.0, 0.0])]
    for u in push[:-1]:
        xs.append(step @ np.concatenate([xs[-1], u, [1.0]]))
    data = np.concatenate([np.stack(xs), push], axis=1)
    for dt in (None, DT):
        model = physics.least_squares(physics.Steps(2, inputs=1, affine=True, dt=dt))
        got = forecasts(model, jnp.asarray(data[None]))
        assert np.max(errors(got, data[None, CONTEXT:, :2])) < 1e-11
    told = decoder_of(model).parameters(jax.jit(model.final)(jnp.asarray(data)))
    np.testing.assert_allclose(told["M"], M, atol=1e-8)


@pytest.mark.slow
def test_a_lift_makes_other_laws_linear(double):
    def lift(x):
        return jnp.stack([x[0], x[0] * x[1], x[1]])

    step = np.array([[0.05, -0.1, 0.0], [0.0, 0.1, -0.05]])
    xs = [np.array([1.2, 0.7])]
    for _ in range(255):
        x = xs[-1]
        xs.append(x + step @ np.array([x[0], x[0] * x[1], x[1]]))
    data = np.stack(xs)
    model = physics.least_squares(physics.Steps(2, lift=lift))
    assert np.max(errors(forecasts(model, data[None]), data[None, CONTEXT:])) < 1e-9
    told = decoder_of(model).parameters(jax.jit(model.final)(jnp.asarray(data)))
    np.testing.assert_allclose(told["step"], step, atol=1e-11)


@pytest.mark.parametrize(
    "ridge, scaled, count",
    [(0.0, 0.0, 20), (0.3, 0.0, 20), (0.3, 0.0, 5), (0, 0.1, 20)],
)
def test_tokens_are_ridge_regression(ridge, scaled, count, precision):
    noise = np.random.default_rng(3)
    keys = noise.uniform(-1, 1, (count, 8)) * np.logspace(-1, 1, 8)
    values = keys @ noise.standard_normal((8, 2)) + 0.1 * noise.standard_normal(
        (count, 2)
    )
    tokens = np.concatenate([keys, values], axis=1).astype(np.float32)
    keys, values = np.split(tokens.astype(float), [8], axis=1)
    features = physics.Tokens(8, 2)
    model = physics.least_squares(features, ridge, scaled_ridge=scaled)
    state = jax.jit(model.final)(jnp.asarray(tokens, float))
    square = keys.T @ keys
    square += ridge * np.eye(8) + scaled * np.diag(np.diag(square))
    weights = np.linalg.solve(square, keys.T @ values)
    if not (ridge or scaled):
        weights = np.linalg.lstsq(keys, values, rcond=None)[0]
    tolerance = 1e-9 if jax.config.read("jax_enable_x64") else 2e-3
    told = decoder_of(model).parameters(state)["weights"]
    np.testing.assert_allclose(told, weights, rtol=tolerance, atol=tolerance * 1e-1)
    query = jnp.linspace(-1, 1, 8)
    got = jax.jit(decoder_of(model).predict)(state, query)
    np.testing.assert_allclose(
        got, np.asarray(query) @ weights, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(
        model.read(state, 0.0), keys[-1] @ weights, rtol=tolerance, atol=tolerance
    )


@pytest.mark.slow
def test_too_few_steps_leave_nothing_infinite():
    xs = jnp.asarray(spring(*CONSTANTS[0]))
    for features in (physics.Steps(2, dt=DT), physics.Tokens(1, 1)):
        model = physics.least_squares(features)

        @eqx.filter_jit
        def told(xs, model=model):
            loss = lambda xs: (jnp.sum(model(xs[:4]) ** 2), model(xs[:4]))  # noqa: E731
            return jax.grad(loss, has_aux=True)(xs)

        slopes, ys = told(xs)
        assert np.all(np.isfinite(ys)) and np.all(np.isfinite(slopes))
        # After one observation nothing is known but that observation.
        if not isinstance(features, physics.Tokens):
            assert_close(ys[0], xs[0])
        still = jnp.zeros_like(xs)
        assert not np.any(told(still)[1])


@pytest.mark.slow
def test_forgetting_follows_a_law_that_changes(double):
    first, second = spring(*CONSTANTS[0])[:128], spring(*CONSTANTS[2])[:128]
    xs = np.concatenate([first, second])
    keep = 0.9
    pairs = np.arange(1, 256)
    weight = keep ** ((255 - pairs) / 2)
    features, steps = xs[:-1] * weight[:, None], np.diff(xs, axis=0) * weight[:, None]
    want = np.linalg.lstsq(features, steps, rcond=None)[0].T
    model = physics.least_squares(physics.Steps(2), keep=keep)
    told = decoder_of(model).parameters(jax.jit(model.final)(jnp.asarray(xs)))["step"]
    np.testing.assert_allclose(told, want, rtol=1e-8)


ROLLS = {
    "sequential": wj.SequentialRoll(),
    "associative": wj.AssociativeRoll(),
    "convolution": wj.ConvolutionRoll(),
    "chunked": wj.ChunkedRoll(4),
}


@pytest.mark.slow
@pytest.mark.parametrize("roll", ROLLS)
def test_every_roll_and_a_stream_sum_the_same(roll, double):
    noise = np.random.default_rng(0)
    xs = jnp.asarray(noise.standard_normal((9, 3), np.float32), float)
    mask = jnp.array([0, 1, 1, 0, 1, 1, 1, 0, 1], bool)
    features = physics.Steps(2, inputs=1)
    model = physics.least_squares(features, 0.1, keep=0.8, roll=ROLLS[roll])
    valid = np.asarray(xs, float)[np.asarray(mask)]
    square, across = np.zeros((3, 3)), np.zeros((3, 2))
    for before, now in itertools.pairwise(valid):
        square = 0.8 * square + np.outer(before, before)
        across = 0.8 * across + np.outer(before, (now - before)[:2])
    want = np.concatenate([square[np.triu_indices(3)], across.ravel()])
    final = jax.jit(lambda xs: model.final(xs, mask=mask))(xs)
    assert_close(final.theta, want)
    state = model.init(xs[1])
    for i in np.flatnonzero(mask)[1:]:
        state = model.step(state, xs[i], float(i))
    assert_close(state.theta, want)
    solved = np.linalg.solve(square + 0.1 * np.eye(3), across)
    assert_close(decoder_of(model).solution(state), solved)
    weights = model.transition.matrix(), model.transition.input_matrix()
    assert_close(weights, (0.8 * np.eye(12), np.eye(12)))


@pytest.mark.slow
def test_nothing_is_trained_unless_asked():
    model = physics.least_squares(physics.Steps(2))
    assert not jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    asked = physics.least_squares(physics.Steps(2), jnp.array(0.1), keep=jnp.array(0.9))
    xs = jnp.asarray(spring(*CONSTANTS[0]), float)[:20]
    slopes = eqx.filter_grad(lambda m: jnp.sum(wj.unroll(m, xs, forcing=1)))(asked)
    leaves = jax.tree.leaves(slopes)
    assert len(leaves) == 2 and all(np.isfinite(s) and s != 0 for s in leaves)


def test_products_are_of_the_observation_before_and_its_increment(double):
    xs = jnp.array([[1.0, 2.0], [4.0, -1.0]])
    start = wj.State(jnp.zeros(0), xs[0], jnp.array(0.5))
    ts = jnp.array([0.5, 0.8])
    plain, _ = wj.Products()(start, xs, ts, None)
    # 1·1, 1·2, 2·2, then (1, 2) times (3, -3).
    assert_close(plain[1], np.array([1, 2, 4, 3, -3, 6, -6.0]))
    timed, _ = wj.Products(time_channel=True)(start, xs, ts, None)
    assert timed.shape == (2, wj.Products(time_channel=True).size(2)) == (2, 15)
    assert_close(timed[1, 2], jnp.array(0.5))
    assert_close(timed[1, -3:], 0.5 * np.array([3, -3, 0.3]))
    alone, memory = wj.Products().step(start, xs[1], ts[1])
    assert_same(alone, plain[1])
    assert memory is None


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.float64))
def test_what_has_no_numbers_of_its_own_takes_the_precision_of_what_it_sees(dtype):
    with x64(True):
        model = physics.least_squares(physics.Steps(2))
        state = model.final(jnp.ones((4, 2), dtype))
        assert state.theta.dtype == model.read(state, 0.5).dtype == dtype
