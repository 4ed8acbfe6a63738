"""In continuous time a step is A to the power of the time that passed."""

# Wrong types are what is tested here.
# pyright: reportArgumentType=false

import itertools

import equinox as eqx
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

import warp_jax as wj

from . import oracle
from .helpers import (
    assert_close,
    make_model,
    make_sequence,
    named_arrays,
)
from .oracle import Choices
from .test_properties import LENGTH, MASKS, OPTIONS, SEQUENCES
from .test_rolls import mean_square, ROLLS
from .test_streaming import in_parts


jit = eqx.filter_jit
UNIT = 0.25
VARYING = "sequential", "segments", "auto", "associative"
INNER = {
    "diagonal": lambda m: m.transition,
    "dense": lambda m: m.transition,
    "block": lambda m: m.transition,
    "cut_block": lambda m: m.transition,
    "low_rank": lambda m: m.transition,
    "spectral": lambda m: m.transition,
    "oscillatory": lambda m: m.transition,
    "subspace_dense": lambda m: m.transition.dynamics,
    "subspace_spectral": lambda m: m.transition.dynamics,
}


def calm(A):
    """Returns matrices nearer to the identity, which turn by less."""
    return jnp.eye(A.shape[-1], dtype=A.dtype) + (A - jnp.eye(A.shape[-1])) / 4


# Off their initial values these turn by more than there is a power for.
FULL = {
    "dense": (lambda t: t.A, calm),
    "subspace_dense": (lambda t: t.A, calm),
    "block": (lambda t: t.blocks, jax.vmap(calm)),
    "cut_block": (lambda t: t.blocks, jax.vmap(calm)),
}


def make_timed(choices, roll: wj.AbstractRoll = wj.AutoRoll(), unit=UNIT):
    """Returns a model, and the same in continuous time."""
    model, where = make_model(choices, roll=roll), INNER[choices.transition]
    if choices.transition == "low_rank":
        # Off its initial value A turns by more than it has a power for.
        model = eqx.tree_at(lambda m: m.transition.V, model, replace_fn=lambda V: V / 4)
    if choices.transition == "diagonal":
        # A real power is that of a positive number.
        model = eqx.tree_at(lambda m: m.transition.a, model, replace_fn=jnp.abs)
    if choices.transition in FULL:
        A, calmed = FULL[choices.transition]
        model = eqx.tree_at(lambda m: A(where(m)), model, replace_fn=calmed)
    timed = eqx.tree_at(where, model, replace_fn=lambda t: wj.ContinuousTime(t, unit))
    timed = eqx.tree_at(lambda m: m.drive, timed, replace_fn=wj.Elapsed)
    if choices.transition.startswith("subspace"):
        # The size of the drive is not part of what is replaced.
        subspace = wj.SubspaceTransition(
            choices.state_size, timed.transition.dynamics, key=jr.key(5)
        )
        subspace = eqx.tree_at(lambda t: t.P, subspace, timed.transition.P)
        timed = eqx.tree_at(lambda m: m.transition, timed, subspace)
    return model, timed


def power(A, steps):
    """Returns `A^steps` by eigenvectors, which the transitions do without."""
    values, vectors = np.linalg.eig(A)
    return np.real(vectors * values.astype(complex) ** steps @ np.linalg.inv(vectors))


def plain(w):
    """Returns a model's arrays without what wraps its parts."""
    names = {
        ".transition.transition.": ".transition.",
        ".dynamics.transition.": ".dynamics.",
        ".drive.drive.": ".drive.",
    }
    for old, new in names.items():
        w = {name.replace(old, new): array for name, array in w.items()}
    return w


def by_hand(choices, w, xs, ts, valid):
    """Returns states and outputs by one loop over the valid steps."""
    place = (
        ".transition.dynamics." if "subspace" in choices.transition else ".transition."
    )
    kind = choices.transition.removeprefix("subspace_")
    A, B = oracle.matrices(kind, w, place)
    P = w.get(".transition.P", np.eye(len(A)))
    xs, ts = xs[valid], ts[valid]
    theta = oracle.initial(choices, w, xs[0])
    first = theta if "subspace" in choices.transition else np.zeros(len(theta))
    c = np.zeros(len(A)) if "subspace" in choices.transition else theta
    thetas = [theta]
    for i in range(1, len(xs)):
        dx = oracle.drive(choices, w, xs, ts, i)
        c = power(A, (ts[i] - ts[i - 1]) / UNIT) @ c + B @ dx
        thetas.append(first + P @ c)
    steps = zip(thetas, xs, ts)
    return np.stack(thetas), np.stack([oracle.decode(choices, w, *s) for s in steps])


SLOWER = "block", "subspace_dense"


@pytest.mark.parametrize(
    "transition",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOWER)) for n in INNER],
)
def test_a_step_is_a_power_of_the_time_that_passed(transition, double):
    check_power(transition)


@pytest.mark.slow
def test_a_step_is_a_power_in_single_precision():
    check_power("low_rank")


def check_power(transition):
    """Compares with powers by eigenvectors, in NumPy."""
    choices = Choices(transition, "hypernetwork", "increments", True, "observing")
    model, (xs, ts) = make_timed(choices)[1], make_sequence(LENGTH)
    mask = np.array([0, 1, 1, 0, 1, 1, 1, 0], bool)
    want = by_hand(
        choices, plain(named_arrays(model)), np.asarray(xs), np.asarray(ts), mask
    )
    valid = jnp.asarray(mask)
    run = jit(lambda m: (m.weights(xs, ts, valid), m(xs, ts, mask=valid)))
    got = [array[mask] for array in run(model)]
    assert_close(got, list(want))


def check_grid(transition, roll, length=LENGTH):
    """On an even grid of units it is the discrete transition, gradients included."""
    choices = Choices(transition, "learnt")
    xs, ts = make_sequence(length)[0], 0.5 + UNIT * jnp.arange(length)

    @jit
    def told(model, xs):
        def loss(arguments):
            model, xs = arguments
            values = {
                "outputs": model(xs, ts),
                "weights": model.weights(xs, ts),
                "final": model.final(xs, ts).theta,
            }
            return mean_square(values), values

        return eqx.filter_grad(loss, has_aux=True)((model, xs))

    discrete, timed = make_timed(choices, ROLLS[roll])
    (want_slopes, *want_xs), want = told(discrete, xs)
    (slopes, *of_xs), got = told(timed, xs)
    assert_close(got, want)
    assert_close(
        (plain(named_arrays(slopes)), of_xs), (named_arrays(want_slopes), want_xs)
    )


def test_time_passes_without_an_observation(double):
    timed, xs = make_timed(Choices("spectral"))[1], make_sequence(3)[0]
    ts, mask = UNIT * jnp.arange(3), jnp.array([True, False, True])
    thetas, A = jit(timed.weights)(xs, ts, mask), timed.transition.matrix()
    jump = timed.transition.inject(jnp.append(xs[2] - xs[0], 9.0))
    assert_close(thetas[2], A @ A @ thetas[0] + jump)


def test_on_a_grid_it_is_the_discrete_transition(double):
    check_grid("subspace_spectral", "auto")


@pytest.mark.slow
@pytest.mark.parametrize("transition, roll", [*zip(INNER, itertools.cycle(VARYING))])
def test_every_varying_roll_goes_in_continuous_time(transition, roll, double):
    check_grid(transition, roll)


@pytest.mark.slow
def test_segments_agree_at_irregular_times(double):
    check_rolls("segments")


def test_rolls_agree_at_irregular_times(double):
    check_rolls("associative")


def check_rolls(roll):
    """Compares values, and gradients in the times too, with a sequential roll."""
    choices, (xs, ts) = Choices("subspace_spectral"), make_sequence(9)
    mask = jnp.arange(9) != 4

    @jit
    def slopes(model, xs, ts):
        def loss(arguments):
            model, xs, ts = arguments
            outputs = model(xs, ts, mask=mask)
            return jnp.mean((outputs + 1) ** 2), outputs

        return eqx.filter_grad(loss, has_aux=True)((model, xs, ts))

    (_, got_xs, got_ts), got = slopes(make_timed(choices, ROLLS[roll])[1], xs, ts)
    (_, want_xs, want_ts), want = slopes(
        make_timed(choices, wj.SequentialRoll())[1], xs, ts
    )
    assert_close((got_xs, got_ts, got), (want_xs, want_ts, want))
    # Against differences: a time moves A as well as the coordinate.
    model, step = make_timed(choices)[1], 1e-6

    def loss(ts):
        return jnp.mean((model(xs, ts, mask=mask) + 1) ** 2)

    for i in (2, 5):
        ahead, back = (jit(loss)(ts.at[i].add(way * step)) for way in (1, -1))
        assert abs((ahead - back) / (2 * step) - want_ts[i]) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("transition", ("subspace_spectral", "low_rank", "cut_block"))
def test_streams_and_parts_give_the_whole(transition, double):
    choices = Choices(transition, "learnt", "signature", True, "observing")
    model, (xs, ts) = make_timed(choices)[1], make_sequence(7)
    parts = in_parts(model, xs, ts, ts + 0.1, 3)
    whole = parts.pop("whole")
    for name, part in parts.items():
        assert_close(part, whole, name)


def test_a_forecast_goes_to_any_times(double):
    model, (xs, ts) = make_timed(Choices("subspace_spectral"))[1], make_sequence(6)

    @jit
    def told(model, ts):
        state, outputs = model.final(xs[:4], ts[:4]), []
        for t in ts[4:]:
            outputs.append(model.read(state, t))
            state = model.step(state, outputs[-1], t)
        return wj.forecast(model, xs[:4], 2, ts), jnp.stack(outputs)

    near, far = told(model, ts), told(model, ts.at[4:].add(2.0))
    for got, want in (near, far):
        assert_close(got, want)
    assert not np.any(np.isclose(near[0], far[0]))


@pytest.mark.slow
def test_it_packs_drops_modes_and_has_gaps(double):
    """What composes with the discrete transition composes with this one."""
    model, (xs, ts) = make_timed(Choices("subspace_spectral"))[1], make_sequence(8)
    reset = jnp.arange(8) == 5
    packed = jit(model)(xs, ts, reset=reset)
    assert_close(packed[:5], jit(model)(xs[:5], ts[:5]))
    assert_close(packed[5:], jit(model)(xs[5:], ts[5:]))
    gappy = eqx.tree_at(lambda m: m.drive, model, wj.Elapsed(wj.Gaps(wj.Increments())))
    held = xs.at[3, 1].set(xs[2, 1])
    got = jit(gappy)(xs.at[3, 1].set(jnp.nan), ts)
    assert_close(got, jit(model)(held, ts))
    dropping = eqx.tree_at(
        lambda m: m.transition, model, wj.ModeDropout(model.transition, 0.5)
    )
    assert_close(jit(dropping)(xs, ts), jit(model)(xs, ts))
    assert np.all(np.isfinite(jit(dropping)(xs, ts, key=jr.key(0))))


def signal(ts):
    """A signal of a few slow waves."""
    angles = 2 * jnp.pi * jnp.outer(ts, jnp.array([1.0, 2.0, 3.0]))
    return jnp.stack([jnp.sin(angles).sum(1), jnp.cos(angles + 1).sum(1)], axis=1)


@pytest.mark.slow
def test_how_a_slow_signal_was_sampled_matters_little(double):
    """Irregular samples come to the same state, the nearer the more there are; in
    discrete time they come to another one.
    """
    discrete, timed = make_timed(Choices("subspace_spectral"), unit=1 / 8)
    final = jit(lambda m, ts: m.final(signal(ts), ts).theta)
    want = final(timed, jnp.linspace(0, 1, 8193))
    size = np.max(np.abs(want - timed.initial(signal(jnp.zeros(1))[0])))
    errors = []
    for count in (64, 128, 256):
        noise = np.random.default_rng(count).uniform(0.2, 1.8, count)
        ts = jnp.append(0.0, jnp.asarray(np.cumsum(noise) / noise.sum()))
        errors.append(np.max(np.abs(final(timed, ts) - want)) / size)
        assert np.max(np.abs(final(discrete, ts) - want)) / size > 1
    # Proportional to the steps.
    assert errors[2] < errors[1] / 1.5 < errors[0] / 2.25 and errors[2] < 0.01


def test_powers_of_modes_keep_their_phase(precision):
    """A phase of more than half a turn is not taken for a smaller one."""
    modes = wj.SpectralTransition(2, 1, length=20, key=jr.key(0))
    fast = eqx.tree_at(lambda t: t.log_phase, modes, jnp.log(jnp.array([4.0])))
    half = fast.power(jnp.array(0.5))
    squared = fast.compose(half, half)
    assert_close(squared, fast.eigenvalues())
    growth, phase = -np.exp(np.asarray(fast.log_decay)), 4.0
    want = scipy.linalg.expm(0.5 * np.array([[growth[0], -phase], [phase, growth[0]]]))
    assert_close(fast.act(half, jnp.array([1.0, 0.0])), want[:, 0])


XS, TS = jnp.ones((6, 2)), jnp.linspace(0, 1, 6)


def refused(roll):
    choices = Choices("subspace_spectral")
    return lambda m: make_timed(choices, roll)[1](XS, TS)


REFUSED = [
    (
        ValueError,
        "model(xs, ts, queries, mask)",
        "`Elapsed(Increments",
        lambda m: untimed()(XS, TS),
    ),
    (
        ValueError,
        "ContinuousTime`, where each step",
        "`AutoRoll`",
        refused(wj.ChunkedRoll(4)),
    ),
    (
        ValueError,
        "ContinuousTime`, where each step",
        "`AutoRoll`",
        refused(wj.ConvolutionRoll()),
    ),
    (
        TypeError,
        "ContinuousTime(transition, unit)",
        "got LowRankTransition",
        lambda m: wj.ContinuousTime(wj.LowRankTransition(9, 2, 3, key=jr.key(0)), 1.0),
    ),
    (
        TypeError,
        "ContinuousTime(transition, unit)",
        "wrap the `dynamics`",
        lambda m: wj.ContinuousTime(
            make_model(Choices("subspace_spectral")).transition, 1.0
        ),
    ),
    (
        ValueError,
        "ContinuousTime(transition, unit)",
        "unit=0",
        lambda m: wj.ContinuousTime(wj.DiagonalTransition(3, 2), 0),
    ),
    (TypeError, "Elapsed(drive)", "got NoneType", lambda m: wj.Elapsed(None)),
]


def untimed():
    """Returns a model in continuous time whose drive has one more channel, no time."""
    model = make_timed(Choices("spectral"))[1]
    return eqx.tree_at(lambda m: m.drive, model, wj.Increments(time_channel=True))


@pytest.mark.parametrize("kind, call, fragment, act", REFUSED)
def test_bad_uses_are_refused(kind, call, fragment, act, unchecked):
    with pytest.raises(kind) as caught:
        act(make_model())
    assert call in str(caught.value) and fragment in str(caught.value)


def test_its_spectrum_is_that_of_a_unit(double):
    discrete, timed = make_timed(Choices("subspace_spectral"))
    want = wj.spectrum(discrete.transition)
    assert_close(wj.spectrum(timed.transition).eigenvalues, want.eigenvalues)
    model = wj.RadiusBound(0.5)(timed)
    inner = wj.spectrum(INNER["subspace_spectral"](model))
    assert inner.radius <= 0.5 + 1e-9
    assert INNER["subspace_spectral"](model).unit == UNIT


def test_a_turn_without_powers_is_refused(unchecked):
    low_rank = wj.LowRankTransition(14, 2, 2, key=jr.key(0))

    def turned(angle):
        """Turns the plane of U by an angle at each step."""
        turn = jnp.array([[0.0, -angle], [angle, 0.0]])
        V = low_rank.U @ (jax.scipy.linalg.expm(turn) - jnp.eye(2)).T
        return wj.ContinuousTime(eqx.tree_at(lambda t: t.V, low_rank, V), 1.0)

    half = turned(1.5).step(low_rank.U[:, 0], jnp.array([0, 0, 0.5]))
    want = jnp.cos(0.75) * low_rank.U[:, 0] + jnp.sin(0.75) * low_rank.U[:, 1]
    np.testing.assert_allclose(half, want, atol=1e-4)
    with pytest.raises(ValueError, match="an A without real powers"):
        turned(3.0).step(jnp.ones(14), jnp.ones(3))
    dense = eqx.tree_at(lambda t: t.A, wj.DenseTransition(2, 1), -jnp.eye(2))
    blocks = wj.BlockDiagonalTransition(3, 1, 2)
    blocks = eqx.tree_at(lambda t: t.blocks, blocks, -blocks.blocks)
    for negative in (dense, blocks):
        with pytest.raises(ValueError, match="an A without real powers"):
            timed = wj.ContinuousTime(negative, 1.0)
            timed.step(jnp.ones(timed.state_size), jnp.ones(2))
    with pytest.raises(TypeError, match="got LowRankTransition"):
        wj.ContinuousTime(wj.LowRankTransition(9, 2, 3, key=jr.key(0)), 1.0)


def test_what_has_no_powers_says_so():
    with pytest.raises(TypeError, match="no powers of A but whole ones"):
        wj.LowRankTransition(30, 2, 2, key=jr.key(0)).power(jnp.array(0.5))


TIMES = hnp.arrays(
    np.float64, LENGTH, elements=st.integers(0, 32).map(lambda n: n / 64)
)
CHOICES = Choices("subspace_spectral", "hypernetwork", "increments", False, "observing")


@eqx.filter_jit
def call(model, xs, ts, queries, mask, state=None):
    final = model.final(xs, ts, mask=mask, state=state)
    return model(xs, ts, queries, mask, state=state), final


def check(examples):
    """Only times between observations matter to the state, in the unit's measure; what
    repeats the latest observation is no more than the time; and a cut changes nothing.
    """
    timed = make_timed(CHOICES)[1]

    @hypothesis.settings(max_examples=examples, **OPTIONS)
    @hypothesis.given(xs=SEQUENCES, steps=TIMES, mask=MASKS, slow=st.integers(-2, 2))
    def run(xs, steps, mask, slow):
        ts = np.cumsum(steps)
        outputs, final = call(timed, xs, ts, ts, mask)
        # Rescaling time with its unit, exactly in binary, changes no number.
        scale = 2.0**slow
        where = lambda m: m.transition.dynamics  # noqa: E731
        same = wj.ContinuousTime(where(timed).transition, UNIT * scale)
        scaled = eqx.tree_at(where, timed, same)
        others, other = call(scaled, xs, scale * ts, ts, mask)
        assert_close((others, other.theta), (outputs, final.theta))
        # Moving it does not either.
        others, other = call(timed, xs, ts + 4, ts, mask)
        assert_close((others, other.theta), (outputs, final.theta))
        # A copy of the latest observation moves only the time.
        first = int(mask.argmax())
        held = xs[np.maximum.accumulate(np.where(mask, np.arange(LENGTH), first))]
        started = mask | (np.arange(LENGTH) > first)
        started[: first + 1] = mask[: first + 1]
        _, more = call(timed, held, ts, ts, started)
        later = timed.step(final, final.x, more.t)
        assert_close(more, later)
        # Two calls, the second from the state of the first, are one.
        for cut in np.flatnonzero(mask)[1:2]:
            early = np.arange(LENGTH) < cut
            _, state = call(timed, xs, ts, ts, mask & early)
            rest, end = call(timed, xs, ts, ts, mask & ~early, state)
            assert_close((rest[cut:], end), (outputs[cut:], final))

    run()


def test_time_is_what_passes(double):
    check(10)


@pytest.mark.slow
def test_time_is_what_passes_in_many_more(double):
    check(500)
