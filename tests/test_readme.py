"""The README's example runs as it stands, and a package index can show its text."""

import pathlib
import re
import tomllib

import jax


ROOT = pathlib.Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)]*)\)")


def test_a_package_index_shows_no_link_or_image_to_a_file():
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hook = hook["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / part["path"]).read_text() for part in hook["fragments"])
    assert any(not target.startswith("https://") for target in LINK.findall(text))
    for one in hook["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert all(target.startswith("https://") for target in LINK.findall(text))
    assert len(LINK.findall(text)) > 2 and "![" not in text
    assert "docs/peers.md goes" in text and "| digits, class | accuracy |" in text


def test_the_example_of_the_readme_runs():
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):
        exec(code, names)
    assert names["future"].shape == (16, 2)
    losses = names["history"].loss
    assert losses[-20:].mean() < losses[:20].mean()
