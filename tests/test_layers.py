"""Modules import only from the rows above their own."""

import ast
import pathlib

import pytest


ROOT = pathlib.Path(__file__).parents[1] / "warp_jax"
ROWS = (
    {"_devices"},
    {"_types", "_check", "_precision"},
    {
        "_abstract_model",
        "_weightspace",
        "_span",
        "_site",
        "_drive",
        "_coordinates",
        "_loss",
    },
    {
        "_save",
        "_training",
        "_batches",
        "_initial",
        "_transition",
        "_decoder",
    },
    {"_roll", "_checkpoints", "_layout"},
    {"_resets"},
    {"_reading"},
    {"_begin"},
    {"_model"},
    {"_forecast", "_readout", "_stacked", "_fit", "_spectrum", "physics"},
)
SOLVER = "physics/ode.py"
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def _top(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path):
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [a.name for a in node.names]
            yield from (name.split(".")[0] for name in names)


def _outside(path):
    """Yields the first name of every absolute import."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_upwards(path):
    for name in _imports(path):
        assert RANK[name] < RANK[_top(path)], f"{_top(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_and_stay_within_their_means(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    outside = set(_outside(path))
    assert "jax._src" not in text
    assert not outside & {"numpy", "pickle", "warp_jax"}
    assert "diffrax" not in outside or path.relative_to(ROOT).as_posix() == SOLVER
    assert "optax" not in outside or path.name == "_fit.py"
    assert "orbax" not in outside or path.name == "_checkpoints.py"


def test_every_file_has_a_row():
    assert {_top(path) for path in FILES} == set(RANK)


def test_every_module_opens_with_what_goes_in_and_what_comes_out():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
