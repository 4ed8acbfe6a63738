"""The README's example runs as it stands."""

import pathlib
import re

import jax


def test_the_example_of_the_readme_runs():
    text = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):
        exec(code, names)
    assert names["future"].shape == (16, 2)
    losses = names["history"].loss
    assert losses[-20:].mean() < losses[:20].mean()
