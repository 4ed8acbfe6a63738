"""Regression in context: data, references, and queries as coordinates."""

import functools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj
from experiments import _regressors as regressors, in_context
from experiments.__main__ import main
from experiments._data import Fresh, Linear, make_in_context, Sinusoids
from experiments._data.made import stream
from experiments._in_context import Asked, Fed, microseconds, relative
from experiments._regression import gradient_step, KeyTokens, ridge
from experiments._sizes import count

from .helpers import (
    assert_close,
    assert_same,
    named_arrays,
    perturbed,
    SINGLE_IS_SLOW,
    x64,
)


KEYS, TOKENS, PARAMETERS = 2, 6, 20_000


def contexts(count=3, queries=5, tokens=TOKENS, noise=0.1, keys=KEYS):
    return Linear(keys, noise).draw(stream("test"), count, tokens, queries)


def precise(tree):
    """Returns arrays, or a model with its weights, in the precision in use."""
    numbers, rest = eqx.partition(tree, eqx.is_inexact_array_like)
    return eqx.combine(jax.tree.map(lambda a: jnp.asarray(a, float), numbers), rest)


@functools.cache
def makers():
    with x64(False):
        units = Linear(KEYS).draw(stream("train"), 200, TOKENS, 4)
        return regressors.models(units, PARAMETERS, jr.key(0))


def made(name):
    """Returns a model, small and moved off its initial weights, and how it is asked."""
    kind, make = makers()[name]
    with x64(False):
        model = perturbed(make(), 0, 0.05)
    return kind(TOKENS, 3), precise(model)


def fitted(xs, queries, features=lambda x: x):
    """Returns the answers of ordinary least squares, context by context."""
    answers = []
    for tokens, asked in zip(np.asarray(xs[:, 1:], float), np.asarray(queries, float)):
        inputs = np.array([features(x) for x in tokens[:, :-1]])
        weights = np.linalg.lstsq(inputs, tokens[:, -1], rcond=None)[0]
        answers.append([features(x) @ weights for x in asked])
    return np.array(answers)


def test_linear_functions_are_what_they_say_they_are():
    clean, noisy = contexts(400, 50, noise=0.0), contexts(400, 50, noise=0.2)
    assert clean.xs.shape == (400, 1 + TOKENS, KEYS + 1)
    assert clean.xs.dtype == clean.answers.dtype == np.float32
    assert not np.any(clean.xs[:, 0])
    np.testing.assert_allclose(fitted(*clean[:2]), clean.answers, atol=1e-4)
    # The noise is on the tokens alone, and all else stays.
    np.testing.assert_array_equal(clean.answers, noisy.answers)
    np.testing.assert_array_equal(clean.queries, noisy.queries)
    error = (noisy.xs - clean.xs)[:, 1:]
    assert not np.any(error[..., :-1])
    np.testing.assert_allclose(error[..., -1].std(), 0.2, rtol=0.05)
    # Weights and keys are uniform in [-1, 1].
    weights = np.linalg.lstsq(
        clean.queries[0].astype(float), clean.answers[0], rcond=None
    )[0]
    assert np.all(np.abs(weights) <= 1 + 1e-5)
    for values in (clean.xs[:, 1:, :-1], clean.queries):
        assert np.abs(values).max() <= 1
        np.testing.assert_allclose(np.mean(values**2), 1 / 3, rtol=0.05)
    np.testing.assert_allclose(np.mean(clean.answers**2), KEYS / 9, rtol=0.1)
    # Of the eight weights of 2 000 functions the mean square is what `prior` says.
    constants = Linear(8).constants(np.random.default_rng(0), 2000)
    np.testing.assert_allclose(np.mean(constants**2), Linear(8).prior, rtol=0.03)


def test_sinusoids_are_what_they_say_they_are():
    family = Sinusoids()
    part = family.draw(stream("test"), 500, 10, 20)
    assert part.xs.shape == (500, 11, 2) and part.queries.shape == (500, 20, 1)
    waves = lambda x: np.array([np.sin(5 * x[0]), np.cos(5 * x[0])])  # noqa: E731
    np.testing.assert_allclose(
        fitted(*part[:2], waves), part.answers, rtol=0, atol=1e-3
    )
    assert np.abs(part.answers).max() <= 1
    constants = family.constants(np.random.default_rng(0), 20_000)
    assert np.all(constants >= [0.02, 0]) and np.all(constants <= [1, np.pi])
    a, p = constants.T
    squares = np.mean(np.square([a * np.cos(p), a * np.sin(p)]))
    np.testing.assert_allclose(squares, family.prior, rtol=0.02)


def test_parts_do_not_mix_and_batches_come_again():
    family = Linear(KEYS, 0.1)
    data = make_in_context(family, 2 * TOKENS, (20, 30), 7)
    assert len(data.validation.xs) == 20 and len(data.test.xs) == 30
    np.testing.assert_array_equal(data.test.xs, data.beyond.xs)
    largest = np.abs(data.beyond.queries).max(-1)
    assert largest.min() >= 1 - 1e-6 and largest.max() <= 2
    assert data.test.given(4).xs.shape == (30, 5, KEYS + 1)
    batches = [
        Fresh(family, 20, 2 * TOKENS, 7, seed=seed)(step)
        for seed in (0, 1, 2)
        for step in (0, 1, 2)
    ]
    pools = [*batches, data.validation, data.test]
    firsts = {bytes(np.ascontiguousarray(part.xs[0])) for part in pools}
    assert len(firsts) == len(pools)
    again = Fresh(family, 20, 2 * TOKENS, 7, seed=1)(2)
    jax.tree.map(np.testing.assert_array_equal, again, batches[5])


def test_answers_out_of_range_are_the_functions():
    part = Linear(KEYS).draw(stream("test"), 5, TOKENS, 4, beyond=True)
    np.testing.assert_allclose(fitted(*part[:2]), part.answers, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tokens", (TOKENS, 1))
def test_regressions_are_those_of_the_textbook(tokens):
    part = contexts(4, 5, tokens)
    np.testing.assert_allclose(ridge()(part), fitted(*part[:2]), atol=1e-10)
    wanted = []
    for xs, queries in zip(part.xs[:, 1:].astype(float), part.queries):
        X, y = xs[:, :-1], xs[:, -1]
        wanted.append(queries @ np.linalg.solve(X.T @ X + 0.3 * np.eye(KEYS), X.T @ y))
    np.testing.assert_allclose(ridge(0.3)(part), wanted, atol=1e-10)


def test_one_gradient_step_has_the_best_preconditioner():
    training, part = contexts(500, 8, 12), contexts(50, 8, noise=0.0)
    step = gradient_step(training)
    X, y = part.xs[:, 1:, :-1].astype(float), part.xs[:, 1:, -1].astype(float)
    gradient = np.einsum("ntk,nt->nk", X, y)
    # The preconditioner, found entry by entry: answers are linear in the query.
    found = step(part)
    matrices = np.linalg.lstsq(
        np.einsum("nqk,nl->nqkl", part.queries, gradient).reshape(-1, KEYS**2),
        found.ravel(),
        rcond=None,
    )[0].reshape(KEYS, KEYS)
    np.testing.assert_allclose(
        np.einsum("nqk,kl,nl->nq", part.queries, matrices, gradient), found, atol=1e-9
    )
    # It is that of six tokens, for which 1 / (6 / 3) times the identity is about right,
    # and on its training contexts no other one is better.
    assert np.abs(matrices - np.diag(np.diag(matrices))).max() < 0.05
    assert 0.3 < matrices[0, 0] < 0.5
    seen = training.given(TOKENS)
    answers = seen.answers.astype(float)
    best = np.mean((step(seen) - answers) ** 2)
    for factor in (0.9, 1.1):
        assert np.mean((factor * step(seen) - answers) ** 2) > best


@pytest.mark.parametrize("family, penalty", ((Linear(8), 0.0), (Linear(8, 0.1), 0.03)))
def test_what_is_identified_is_least_squares_and_ridge(family, penalty, double):
    part = family.draw(stream("test"), 20, 32, 16)
    model = wj.physics.least_squares(KeyTokens(8), penalty)
    found = Asked(32, 32).evaluate(model, precise(part))
    answers = jax.vmap(functools.partial(Asked(32, 32).answers, model))(
        *precise(part)[:2]
    )
    wanted = ridge(penalty)(part)
    np.testing.assert_allclose(answers, wanted, rtol=0, atol=1e-6)
    if not penalty:
        np.testing.assert_allclose(answers, fitted(*part[:2]), rtol=0, atol=1e-6)
        assert found["relative_error"] < 1e-10
    else:
        assert np.abs(wanted - fitted(*part[:2])).max() > 1e-3


def test_a_known_law_identifies_sinusoids(double):
    part = Sinusoids().draw(stream("test"), 20, 10, 16)
    model = wj.physics.least_squares(KeyTokens(1, in_context.waves))
    found = Asked(10, 10).evaluate(model, precise(part))
    assert found["relative_error"] < 1e-8


def test_keys_are_read_at_the_coordinate():
    features = KeyTokens(KEYS)
    solution = jnp.array([[2.0], [-3.0]])
    state = wj.State(jnp.zeros(5), jnp.array([9.0, 9.0, 9.0]), jnp.zeros(()))
    assert_same(
        features.read(solution, state, jnp.array([0.5, 1.0])), jnp.array([-2.0])
    )


@SINGLE_IS_SLOW
def test_a_state_is_read_at_queries_as_in_numpy(precision):
    """The sum of the products, the network that it moves, and the query: by hand."""
    _, model = made("WARP, products")
    part = precise(contexts())
    found = jax.vmap(functools.partial(Asked(TOKENS, 3).answers, model))(*part[:2])
    arrays, unit = named_arrays(model), model.drive.network
    moved, first = arrays[".transition.P"], arrays[".initial.theta"]
    wanted = []
    for xs, queries in zip(np.asarray(part.xs, float), np.asarray(part.queries, float)):
        drives = [
            [*z, z[0] * z[0], z[0] * z[1], z[1] * z[1], z[0] * z[2], z[1] * z[2]]
            for z in xs[1:]
        ]
        sums = ((np.array(drives) - unit.mean) * unit.scale).sum(0)
        theta = first + moved @ sums
        wanted.append([network(theta, query) for query in queries])
    assert_close(found, np.array(wanted))


def network(theta, query):
    """Returns the residual network with these weights, in the order of its layers."""
    # 2w + w, then w^2 + w for each layer, then w + 1.
    depth = regressors.DEPTH
    width = next(
        w for w in range(1, 100) if 3 * w + depth * (w * w + w) + w + 1 == len(theta)
    )
    place = 0

    def take(*shape):
        nonlocal place
        size = int(np.prod(shape))
        place += size
        return theta[place - size : place].reshape(shape)

    hidden = take(width, KEYS) @ query + take(width)
    for _ in range(depth):
        z = take(width, width) @ hidden + take(width)
        hidden = hidden + z / (1 + np.exp(-z)) / 2
    return (take(1, width) @ hidden + take(1))[0]


@pytest.mark.slow
def test_every_model_answers_from_its_context_alone():
    part = precise(contexts())
    xs, queries = part.xs[0], part.queries[0]
    for name in makers():
        task, model = made(name)
        answers = eqx.filter_jit(task.answers)
        found = answers(model, xs, queries)
        assert found.shape == (len(queries),), name
        # Each token matters, and each query to its own answer alone.
        for t in range(1, len(xs)):
            assert np.any(answers(model, xs.at[t, -1].add(0.5), queries) != found), name
        other = answers(model, xs, queries.at[2].add(0.3))
        kept = np.arange(len(queries)) != 2
        assert_close(other[kept], found[kept], name)
        assert other[2] != found[2]
        # What a mask hides is not seen.
        mask = jnp.arange(len(xs)) <= 4
        hidden = answers(model, xs.at[5:].set(7.0), queries, mask)
        assert_close(hidden, answers(model, xs[:5], queries), name)


@pytest.mark.slow
def test_a_state_answers_again_and_again():
    """Coordinates leave a state as it is; observations do not."""
    part = precise(contexts())
    xs, queries = part.xs[0], part.queries[0]
    for name in makers():
        task, model = made(name)
        at_once = eqx.filter_jit(task.answers)(model, xs, queries)
        in_turn = eqx.filter_jit(task.in_turn)(model, xs, queries)
        assert_close(in_turn[0], at_once[0], name)
        same = np.allclose(in_turn[1:], at_once[1:], atol=1e-6)
        assert same == (not isinstance(task, Fed)), name


@pytest.mark.slow
def test_a_fed_query_is_the_last_token_of_its_sequence():
    part = precise(contexts())
    xs, query = part.xs[0], part.queries[0, 1]
    token = jnp.append(query, 0.0)[None]
    ts = jnp.append(jnp.linspace(0, 1, len(xs)), 1.0)
    for task, model in map(made, makers()):
        if isinstance(task, Fed):
            whole = model(jnp.concatenate([xs, token]), ts)[-1, 0]
            assert_close(task.answers(model, xs, query[None])[0], whole)


def test_tokens_are_increments_of_their_cumulative_sums(precision):
    """The paper feeds sums, so that increments are the tokens."""
    xs = precise(contexts()).xs[0]
    decoder = wj.NetworkDecoder(eqx.nn.MLP(KEYS, 1, 3, 1, key=jr.key(0)))
    drives = {"values": wj.Values(), "increments": wj.Increments()}
    thetas = {}
    for name, drive in drives.items():
        model = wj.WARP(
            decoder=decoder,
            transition=wj.DenseTransition(decoder.state_size, KEYS + 1),
            initial=wj.LearntInitial(jnp.zeros(decoder.state_size)),
            drive=drive,
        )
        thetas[name] = perturbed(model, 0, 0.05).final(
            jnp.cumsum(xs, 0) if name == "increments" else xs
        )
    assert_close(thetas["increments"].theta, thetas["values"].theta)


def test_a_drives_sum_is_in_units_of_its_deviation():
    part = Linear(KEYS).draw(stream("train"), 500, TOKENS, 1)
    drive = regressors.standard(wj.Values(), part)
    each = jax.vmap(jax.vmap(drive.network))(jnp.asarray(part.xs[:, 1:]))
    sums = np.asarray(each).sum(1)
    np.testing.assert_allclose(sums.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(sums.std(0), 1, rtol=1e-4)


@pytest.mark.slow
def test_models_have_about_equal_size():
    for name in makers():
        _, model = made(name)
        assert abs(count(model) / PARAMETERS - 1) < 0.15, (name, count(model))


def test_errors_are_relative_to_predicting_zero():
    answers = np.array([[1.0, -1.0], [3.0, 3.0], [0.5, 0.5]], np.float32)
    assert relative(0 * answers, answers)["relative_error"] == pytest.approx(1)
    found = relative(0.9 * answers, answers)
    assert found["relative_error"] == pytest.approx(0.01, rel=1e-5)
    size = np.mean(answers**2)
    assert found["relative_error_median"] == pytest.approx(0.01 / size, rel=1e-5)


@pytest.mark.slow
def test_training_draws_how_many_tokens_are_given():
    """The loss at one length alone is that of the tokens cut."""
    part = precise(contexts(4))
    _, model = made("WARP, products")
    cut = Asked(4, 4).loss(model, part, jr.key(0))
    found = [
        Asked(4, 4).answers(model, xs[:5], queries)
        for xs, queries in zip(part.xs, part.queries)
    ]
    assert_close(cut, jnp.mean((jnp.stack(found) - part.answers) ** 2))
    spread = {float(Asked(TOKENS, 1).loss(model, part, jr.key(k))) for k in range(4)}
    assert len(spread) > 1


@pytest.mark.parametrize(
    "arguments, fragment",
    (
        (["--tokens", "3"], "got 3"),
        (["--shortest", "0"], "got 0"),
        (["--dataset", "sinusoids", "--shortest", "11"], "1 to 10"),
        (["--noise", "-1"], "got -1"),
        (["--noise", "nan"], "got nan"),
        (["--dataset", "linear-3"], "linear-3"),
    ),
)
def test_options_are_refused_in_plain_words(arguments, fragment, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["in_context", *arguments, "--out", str(tmp_path / "run")])
    assert caught.value.code == 2
    assert fragment in " ".join("".join(capsys.readouterr()).split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, told",
    (
        ({}, "linear-8, 32 tokens"),
        ({"dataset": "sinusoids"}, "sinusoids, 10 tokens"),
        ({"tokens": 64, "shortest": 8}, "linear-8, 8 to 64 tokens"),
        ({"tokens": 64, "shortest": 64}, "linear-8, 64 tokens"),
        ({"noise": 0.25}, "linear-8, 32 tokens, noise 0.25"),
    ),
)
def test_results_are_filed_under_what_the_contexts_told(options, told):
    # Those of other contexts are no other seed of the same.
    assert in_context.Options(**options).told == told


@pytest.mark.slow
def test_in_context_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(in_context, "CONTEXTS", (4, 8))
    monkeypatch.setattr(in_context, "FITTED", 200)
    monkeypatch.setitem(in_context.PARAMETERS, "quick", 3000)
    folder = tmp_path / "run"
    options = (
        "--dataset linear-2 --tokens 8 --shortest 4 --noise 0.1 --steps 2 "
        "--models products fed"
    )
    with jax.numpy_rank_promotion("allow"):
        main(["in_context", *options.split(), "--out", str(folder)])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["dataset"] == "linear-2, 4 to 8 tokens, noise 0.1"
    rows = summary["results"]
    learnt = [row for row in rows if row["steps"]]
    assert [row["model"] for row in learnt] == [
        "WARP, products",
        "separate decoder, products",
        "WARP, tokens, fed",
        "Transformer, fed",
    ]
    for row in learnt:
        assert {
            "relative_error",
            "relative_error_median",
            "beyond_relative_error",
            "in_turn_relative_error",
        } <= set(row["metrics"])
    first = {row["model"]: row["metrics"] for row in rows if "probe" not in row}
    ridged = first["ridge"]["relative_error"]
    assert ridged != first["least squares"]["relative_error"]
    assert first[in_context.IDENTIFIED]["relative_error"] == pytest.approx(ridged, 1e-3)
    probes = {row["probe"] for row in rows if "probe" in row}
    assert probes == {*(f"{n} tokens given" for n in (2, 4, 8, 16)), "time"}
    again = {
        row["model"]: row["metrics"]["relative_error"]
        for row in rows
        if row.get("probe") == "8 tokens given"
    }
    for name, error in again.items():
        assert error == pytest.approx(first[name]["relative_error"], rel=1e-6), name
    assert (folder / "figures" / "error_by_length.png").exists()


def test_what_a_query_costs_is_told_by_model():
    asked = {"WARP, products": made("WARP, products")}
    ((name, found),) = microseconds(asked, contexts(1, 3)).items()
    assert name == "WARP, products" and all(v > 0 for v in found.values())
    assert set(found) == {"microseconds_per_context", "microseconds_per_query"}
