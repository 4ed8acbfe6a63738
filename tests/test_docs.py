"""The examples of the documentation run as they stand."""

import pathlib
import re

import jax
import numpy as np
import pytest


DOCS = pathlib.Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "physics.md").read_text()
SEQUENCES = (DOCS / "sequences.md").read_text()


def run(code):
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):
        exec(code, names)
    return names


@pytest.mark.slow
def test_the_example_of_identification_runs():
    names = run(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0])
    np.testing.assert_allclose(names["told"], [[-2, -9], [9, -2]], rtol=1e-3)
    np.testing.assert_allclose(names["future"], names["xs"][100:], atol=1e-5)


@pytest.mark.slow
def test_a_prior_of_ones_own_runs():
    (code,) = re.findall(r"<!-- prior -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    names = run(code)
    assert names["future"].shape == (10, 1)
    losses = names["history"].loss
    assert losses[-20:].mean() < losses[:20].mean() / 4
    prior = code[code.index("class ") : code.index("\n\n\nk = ")]
    # Its docstring and blank lines apart.
    lines = [line for line in prior.splitlines() if line and '"""' not in line]
    assert len(lines) <= 10


@pytest.mark.slow
def test_sequences_as_they_come_run():
    # The blocks are one program; what a comment says of a line is tested here.
    blocks = re.findall(r"```python\n(.*?)```", SEQUENCES, re.DOTALL)
    names = run("\n".join(blocks))
    shapes = [bucket.mask.shape for bucket in names["buckets"]]
    assert shapes == [(3, 9), (2, 30)] and "# [(3, 9), (2, 30)]" in SEQUENCES
    np.testing.assert_allclose(names["ys"], names["by_hand"], rtol=1e-5, atol=1e-6)
    assert all(np.all(np.isfinite(slope)) for slope in names["slopes"])
    assert np.isfinite(names["loss"])
    packed, separate = names["packed"], names["separate"]
    np.testing.assert_allclose(packed, separate, rtol=1e-5, atol=1e-6)
    end = names["model"].read(names["state"], names["state"].t)
    np.testing.assert_allclose(end, packed[-1], rtol=1e-5, atol=1e-6)
    assert names["future"].shape == (3, 2)
