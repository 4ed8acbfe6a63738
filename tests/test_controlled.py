"""Controlled differential equations: what they solve, and the log-signature they read."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments.baselines import BracketField, Controlled, Field, SignatureField
from experiments.baselines.log_signature import LogSignature

from .helpers import assert_close, named_arrays, perturbed


CHANNELS, HIDDEN = 3, 2


def path(scale=1.0, steps=5):
    return scale * jr.normal(jr.key(3), (steps, CHANNELS))


def summed(dxs):
    """Returns the log-signature of a path with these increments."""
    total = LogSignature.zero(CHANNELS)
    for dx in dxs:
        total = total.extended(dx)
    return total


def network(field, prefix):
    """Returns the function that a field's network is, in NumPy: of complex numbers too."""
    w = named_arrays(field)
    first, second = (f"{prefix}.network.layers[{i}]" for i in range(2))

    def call(hidden):
        z = w[f"{first}.weight"] @ hidden + w[f"{first}.bias"]
        z = w[f"{second}.weight"] @ (z / (1 + np.exp(-z))) + w[f"{second}.bias"]
        return np.tanh(z).reshape(HIDDEN, -1)

    return call


def test_the_log_signature_is_the_integrals(precision):
    dxs = path()
    seen = np.asarray(dxs, np.float64)
    # Of points along the lines, by the trapezoidal rule: exact on straight pieces.
    places = np.concatenate([np.zeros((1, CHANNELS)), np.cumsum(seen, 0)])
    middle = (places[1:] + places[:-1]) / 2
    twice = np.einsum("ti,tj->ij", middle, seen)
    area = (twice - twice.T) / 2
    total = summed(dxs)
    assert_close(total.increment, places[-1])
    assert_close(total.area, area)
    vector = [*places[-1], area[0, 1], area[0, 2], area[1, 2]]
    assert_close(total.vector(), np.array(vector))


def test_a_neural_cde_takes_heuns_steps(precision):
    field = Field(CHANNELS, HIDDEN, 4, key=jr.key(0))
    cell = perturbed(Controlled(2, field, length=8, key=jr.key(1)))
    matrix, w = network(cell, ".field"), named_arrays(cell)
    xs = jr.normal(jr.key(2), (6, 2))
    seen = np.asarray(xs, np.float64)
    hidden = w[".encode.weight"] @ seen[0] + w[".encode.bias"]
    wanted = [hidden]
    for change in np.diff(seen, axis=0):
        dx = np.concatenate([[1 / 8], change])
        first = matrix(hidden) @ dx
        second = matrix(hidden + first) @ dx
        hidden = hidden + (first + second) / 2
        wanted.append(hidden)
    assert_close(cell.roll(None, xs, jnp.ones(6, bool))[0], np.stack(wanted))


def test_a_rough_field_reads_the_areas(precision):
    field = perturbed(SignatureField(CHANNELS, HIDDEN, 4, key=jr.key(0)))
    matrix, hidden, total = (
        network(field, ""),
        jr.normal(jr.key(1), (HIDDEN,)),
        summed(path()),
    )
    vector = np.asarray(total.vector(), np.float64)
    assert_close(field(hidden, total), matrix(np.asarray(hidden, np.float64)) @ vector)


def test_brackets_are_those_of_the_fields(precision):
    field = perturbed(BracketField(CHANNELS, HIDDEN, 4, key=jr.key(0)))
    matrix, total = network(field, ".field"), summed(path())
    hidden = np.asarray(jr.normal(jr.key(1), (HIDDEN,)), np.float64)
    # The derivative by a complex step, exact to rounding: (value, field, direction).
    slopes = np.stack(
        [matrix(hidden + 1e-30j * unit).imag / 1e-30 for unit in np.eye(HIDDEN)], -1
    )
    fields, area = matrix(hidden), np.asarray(total.area, np.float64)
    wanted = fields @ np.asarray(total.increment, np.float64)
    for i in range(CHANNELS):
        for j in range(i + 1, CHANNELS):
            bracket = slopes[:, j] @ fields[:, i] - slopes[:, i] @ fields[:, j]
            wanted = wanted + bracket * area[i, j]
    assert_close(field(jnp.asarray(hidden, float), total), wanted)


def test_areas_bring_a_window_nearer_to_the_equation(double):
    """Over a window the log-ODE is one order better than its increment alone."""
    bracketed = perturbed(BracketField(CHANNELS, HIDDEN, 4, key=jr.key(0)))
    matrix = network(bracketed, ".field")
    errors = {"areas": [], "increment": []}
    for scale in (0.02, 0.01):
        dxs, start = path(scale), np.array([0.3, -0.2])
        fine = start
        for dx in np.asarray(dxs):
            for _ in range(400):
                first = matrix(fine) @ dx / 400
                fine = fine + (first + matrix(fine + first) @ dx / 400) / 2
        for name, field in (("areas", bracketed), ("increment", bracketed.field)):
            cell = Controlled(2, field, length=1, window=5, key=jr.key(1))
            solved = cell._solved(jnp.asarray(start), summed(dxs))
            errors[name].append(np.abs(solved - fine).max())
    ratios = {name: coarse / fine for name, (coarse, fine) in errors.items()}
    assert 3 < ratios["increment"] < 5.5 < 6.5 < ratios["areas"] < 10


def test_windows_begin_where_the_last_one_ended(double):
    field = perturbed(BracketField(CHANNELS, HIDDEN, 4, key=jr.key(0)))
    cell = Controlled(2, field, length=8, window=3, key=jr.key(1))
    xs = jr.normal(jr.key(2), (8, 2))
    hidden = cell.roll(None, xs, jnp.ones(8, bool))[0]
    dxs = jnp.concatenate([jnp.full((7, 1), 1 / 8), jnp.diff(xs, axis=0)], axis=1)
    for first, last in ((0, 1), (0, 2), (0, 3), (3, 4), (3, 6), (6, 7)):
        wanted = cell._solved(hidden[first], summed(dxs[first:last]))
        assert_close(hidden[last], wanted)


def test_windows_need_steps():
    field = Field(CHANNELS, HIDDEN, 4, key=jr.key(0))
    with pytest.raises(ValueError, match="got length=5 and window=0"):
        Controlled(2, field, length=5, window=0, key=jr.key(1))
