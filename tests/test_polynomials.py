"""Products of a sequence's numbers, and which networks can make them."""

import itertools
import json

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.polynomials import DEGREES, draw, LENGTH, MODELS, PLACES, Product


class Says:
    """Says the same of every sequence, or what a function makes of it."""

    def __init__(self, function):
        self.function = function

    def last(self, xs, *, query, key=None):
        assert query == 1.0
        return jnp.atleast_1d(self.function(xs[:, 0]))


def test_sequences_are_independent_numbers_after_a_zero():
    xs = np.asarray(draw(jr.key(0), 20_000), np.float64)
    assert xs.shape == (20_000, LENGTH, 1)
    assert not xs[:, 0].any()
    moments = np.cov(xs[:, 1:, 0].T)
    np.testing.assert_allclose(moments, np.eye(LENGTH - 1), atol=0.03)
    np.testing.assert_allclose(xs[:, 1:].mean(0), 0, atol=0.03)


@pytest.mark.parametrize("degree", DEGREES)
def test_a_product_is_uncorrelated_with_all_of_lower_degree(degree):
    xs = np.asarray(draw(jr.key(1), 50_000), np.float64)[..., 0]
    answers = np.asarray(Product(degree).answer(jnp.asarray(xs[..., None])))
    np.testing.assert_allclose(answers, np.prod(xs[:, PLACES[:degree]], axis=1), 1e-5)
    assert answers.var() == pytest.approx(1, abs=0.05)
    for lower in range(degree):
        for places in itertools.combinations_with_replacement(range(1, LENGTH), lower):
            monomial = np.prod(xs[:, list(places)], axis=1)
            monomial = monomial / np.sqrt(np.mean(monomial**2))
            assert abs(np.mean(answers * monomial)) < 0.03


def test_errors_are_in_units_of_those_of_zero():
    xs, task = draw(jr.key(2), 300), Product(2)
    assert task.error(Says(lambda x: 0.0 * x[0]), xs) == 1
    right = Says(lambda x: x[PLACES[0]] * x[PLACES[1]])
    assert task.error(right, xs) < 1e-10
    assert task.error(Says(lambda x: x[PLACES[0]] * x[PLACES[1] + 1]), xs) > 1
    wrong = Says(lambda x: 2 * right.function(x))
    assert task.error(wrong, xs) == pytest.approx(1, rel=1e-5)
    loss = task.loss(wrong, xs, jr.key(0))
    np.testing.assert_allclose(loss, jnp.mean(task.answer(xs) ** 2))


def test_read_outs_have_states_as_large_as_three_layers():
    sizes = {name: make(jr.key(0)).decoder.state_size for name, make in MODELS.items()}
    assert sizes["1 layer"] < sizes["2 layers"] < sizes["3 layers"]
    assert sizes["2 layers"] == sizes["2 layers, SiLU"]
    (size,) = {sizes[name] for name in sizes if "3" in name or "read-out" in name}
    assert size == 9 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    for make in MODELS.values():
        model, xs = make(jr.key(0)), draw(jr.key(1), 1)[0]
        assert model.last(xs, query=1.0).shape == (1,)


@pytest.mark.slow
def test_two_layers_multiply_two_numbers_and_one_layer_does_not(tmp_path):
    models = "degree 2: 2 layers", "degree 2: 1 layer"
    options = ["--steps", "400", "--learning-rates", "1e-2", "--models", *models]
    main(["polynomials", *options, "--out", str(tmp_path)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    one, two = (row["metrics"]["relative_error"] for row in summary["results"])
    assert [row["model"] for row in summary["results"]] == list(models[::-1])
    assert two < 0.1 < 0.95 < one
    drawn = [path.name for path in (tmp_path / "figures").iterdir()]
    assert drawn == ["learning_curves_degree_2.png"]
