"""The documentation does what it says: code runs, pages and notebooks agree, links hold."""

import inspect
import operator
import pathlib
import re
import runpy

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import warp_jax as wj
from experiments._config import Config

from .helpers import assert_close, perturbed


ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
GALLERY = DOCS / "gallery"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
PAGES = {
    path.relative_to(DOCS).as_posix(): path
    for path in sorted(DOCS.rglob("*.md"))
    if path.parent != GALLERY and PYTHON.search(path.read_text())
}
NOTEBOOKS = sorted(path.stem for path in GALLERY.glob("*.py"))
MAKER = runpy.run_path(str(DOCS / "pages.py"))


def run(text):
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):
        for code in PYTHON.findall(text):
            exec(code, names)
    return names


def physics(names):
    np.testing.assert_allclose(names["told"], [[-2, -9], [9, -2]], rtol=1e-3)
    assert names["future"].shape == (10, 1)
    losses = names["history"].loss
    assert losses[-20:].mean() < losses[:20].mean() / 4


def start(names):
    assert names["future"].shape == (16, 2)
    assert names["futures"].shape == (32, 16, 2)
    # The saved model is the trained one, and a stream begins as a forecast does.
    assert_close(names["ahead"], names["futures"][0, 0])
    assert wj.mse(names["futures"], names["waves"][224:, 16:]) < 0.1


def training(names):
    (first, *_), *_, (last, figure) = names["history"].validation
    assert first < last and figure < 0.3
    loaded = wj.load("model.eqx", like=names["model"])
    assert_close(loaded.transition.P, names["model"].transition.P)


def extending(names):
    """The example of each kind does what the library's own parts do."""
    transition = perturbed(names["NeighbourTransition"](9, 2), 3)
    theta, dx = jnp.linspace(-1, 1, 9), jnp.array([0.5, -2.0])
    dense = transition.matrix() @ theta + transition.input_matrix() @ dx
    assert_close(transition.step(theta, dx), dense)
    assert np.count_nonzero(transition.matrix()) == 3 * 9 - 2

    model = perturbed(names["model"])
    far = model.read(model.final(names["xs"]), 1.5)
    assert not np.allclose(far, names["xs"][-1], atol=1e-2)

    summary = names["run"](Config(out=pathlib.Path("beats"), steps=60))
    assert summary["results"][0]["metrics"]["test_accuracy"] > 0.8


def sequences(names):
    """What a comment of the page says of a line."""
    shapes = [bucket.mask.shape for bucket in names["buckets"]]
    assert shapes == [(3, 9), (2, 30)]
    assert "# [(3, 9), (2, 30)]" in PAGES["sequences.md"].read_text()
    np.testing.assert_allclose(names["ys"], names["by_hand"], rtol=1e-5, atol=1e-6)
    assert all(np.all(np.isfinite(slope)) for slope in names["slopes"])
    assert np.isfinite(names["loss"])
    packed, separate = names["packed"], names["separate"]
    np.testing.assert_allclose(packed, separate, rtol=1e-5, atol=1e-6)
    end = names["model"].read(names["state"], names["state"].t)
    np.testing.assert_allclose(end, packed[-1], rtol=1e-5, atol=1e-6)
    assert names["future"].shape == (3, 2)


def devices(names):
    """However it is split, the same is trained."""
    trained = names["trained"].transition.A
    for model, spec in (names["split"], ("state",)), (names["other"], (None, "state")):
        assert tuple(model.transition.A.sharding.spec) == spec
        assert_close(model.transition.A, trained)
    whole = eqx.tree_at(lambda m: m.roll, names["low_rank"], wj.AutoRoll())
    one, _ = wj.fit(whole, *names["training"], **names["options"])
    assert_close(names["pieced"].transition.U, one.transition.U)


CHECKS = {
    "devices.md": devices,
    "physics.md": physics,
    "sequences.md": sequences,
    "start.md": start,
    "training.md": training,
    "extending.md": extending,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_python_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(PAGES[name].read_text())
    with jax.numpy_rank_promotion("allow"):
        CHECKS.get(name, lambda names: None)(names)


def test_a_prior_of_ones_own_takes_ten_lines():
    text = PAGES["physics.md"].read_text()
    (code,) = re.findall(r"<!-- prior -->\n```python\n(.*?)```", text, re.DOTALL)
    prior = code[code.index("class ") : code.index("\n\n\nk = ")]
    # Its docstring and blank lines apart.
    lines = [line for line in prior.splitlines() if line and '"""' not in line]
    assert len(lines) <= 10


# What each notebook claims, of the names that it leaves.
CLAIMS = {
    "in_context": lambda n: 10 * n["errors"][3] < n["errors"][0] < 1.1,
    "irregular": lambda n: all(
        1.5 * good < bad
        for good, bad in zip(
            n["by_number"]["by time"], n["by_number"]["by observation"]
        )
    ),
    "oscillator": lambda n: n["worst"] < 1e-3,
    "quick_start": lambda n: n["error"] < 0.1 and n["same"],
    "uncertainty": lambda n: 0.9 < n["coverage"][-1] < 0.99,
    "weights": lambda n: n["accuracy"] > 0.95,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_draws(name):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    try:
        with jax.numpy_rank_promotion("allow"):
            names = runpy.run_path(str(GALLERY / f"{name}.py"))
        assert len(plt.get_fignums()) == len(list(GALLERY.glob(f"{name}-*.png"))) > 0
    finally:
        plt.close("all")
    assert CLAIMS[name](names)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_page_of_a_notebook_is_up_to_date(name):
    page = (GALLERY / f"{name}.md").read_text()
    cells = MAKER["cells"]((GALLERY / f"{name}.py").read_text())
    again = f"run `python docs/pages.py {name}`"
    assert MAKER["bare"](page) == "".join(MAKER["pieces"](name, cells)), again
    figures = sorted(re.findall(r"^!\[.*\]\((\S+\.png)\)$", page, re.M))
    assert figures == sorted(path.name for path in GALLERY.glob(f"{name}-*.png")), again
    assert all((GALLERY / figure).stat().st_size < 80_000 for figure in figures)


def test_a_notebook_becomes_a_page(tmp_path):
    (tmp_path / "made.py").write_text(
        "# %% [markdown]\n# # Title\n#\n# Text.\n\n"
        "# %%\nimport matplotlib.pyplot as plt\n\n"
        "x = 2\nprint(x + 1)\n\n# %%\nplt.plot([x])\nplt.title('A line')\n"
    )
    MAKER["make"]("made", tmp_path)
    page = (tmp_path / "made.md").read_text()
    assert "\n# Title\n\nText.\n" in page and "\n```text\n3\n```\n" in page
    assert "\n![A line](made-1.png)\n" in page
    assert (tmp_path / "made-1.png").read_bytes().startswith(b"\x89PNG")
    cells = MAKER["cells"]((tmp_path / "made.py").read_text())
    assert MAKER["bare"](page) == "".join(MAKER["pieces"]("made", cells))


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=str
)
def test_links_to_files_hold(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("#"):
            assert (path.parent / target.split("#")[0]).exists(), target


def test_every_public_name_is_in_the_reference_once():
    text = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    listed = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    for name, rest in re.findall(r"^::: (\S+)\n((?: .*\n)*)", text, re.MULTILINE):
        owner = operator.attrgetter(name.removeprefix("warp_jax."))(wj)
        for member in re.findall(r"^        - (\w+)$", rest, re.MULTILINE):
            assert member in dir(owner) and getattr(owner, member).__doc__, (
                name,
                member,
            )
    public = [
        f"{module.__name__}.{name}"
        for module in (wj, wj.physics)
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    ]
    assert sorted(listed) == sorted(public)
