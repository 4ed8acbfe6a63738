"""Public docstrings name every argument, say every default, and list what is raised."""

import ast
import functools
import inspect
import re
import textwrap

import pytest

from .test_contract import CLASSES, PUBLIC


BULLET = re.compile(r"^ *- (?=`)", re.MULTILINE)
NAME = re.compile(r"`\*{0,2}(\w+)`")
THOSE = re.compile(r"\b(?:those|as) of\s+`(\w+)`")


def _has_own_init(kind):
    code = getattr(vars(kind).get("__init__"), "__code__", None)
    # That of a dataclass is made of text.
    return code is not None and not code.co_filename.startswith("<")


def _maker(thing):
    """Returns what has the arguments and the errors of a public name in its docstring."""
    if inspect.isclass(thing) and _has_own_init(thing):
        return vars(thing)["__init__"]
    return thing


def _said(thing):
    """Returns what a docstring says of each argument, in its list or one it refers to."""
    text = inspect.getdoc(_maker(thing)) or ""
    said = {}
    for referred in THOSE.findall(text):
        if referred in PUBLIC and PUBLIC[referred] is not thing:
            said |= _said(PUBLIC[referred])
    for bullet in BULLET.split(text)[1:]:
        bullet = bullet.split("\n\n")[0]
        head, _, about = bullet.partition(":")
        for name in NAME.findall(head):
            said[name] = about if not THOSE.search(about) else said.get(name, about)
    return said


def _parameters(thing):
    parameters = inspect.signature(_maker(thing)).parameters.values()
    return [p for p in parameters if p.name != "self"]


@functools.cache
def _raised(function):
    """Returns the names of the errors that a function raises, itself or through others of
    the package that it calls by name.
    """
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    raised = set()
    # Its defaults were made before.
    for node in (node for part in tree.body for node in ast.walk(part)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            raised.add(getattr(node.exc.func, "id", None))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = _maker(function.__globals__.get(node.func.id))
            of_package = str(getattr(called, "__module__", "")).startswith("warp_jax")
            if of_package and inspect.isfunction(called) and called is not function:
                raised |= _raised(called)
    return frozenset(name for name in raised if str(name).endswith("Error"))


MADE = [name for name, thing in PUBLIC.items() if not inspect.isabstract(thing)]
RAISING = [name for name in MADE if inspect.isfunction(_maker(PUBLIC[name]))]


@pytest.mark.parametrize("name", MADE)
def test_every_argument_is_described_and_every_default_said(name):
    said = _said(PUBLIC[name])
    for parameter in _parameters(PUBLIC[name]):
        assert parameter.name in said
        if parameter.default is not parameter.empty:
            assert "default" in said[parameter.name], parameter


@pytest.mark.parametrize("name", RAISING)
def test_every_kind_of_error_is_listed(name):
    maker = _maker(PUBLIC[name])
    _, _, listed = (inspect.getdoc(maker) or "").partition("**Raises:**")
    assert {error for error in _raised(maker) if f"`{error}`" not in listed} == set()


def test_errors_are_found_through_what_is_called():
    assert _raised(vars(CLASSES["Pooled"])["__init__"]) == {"TypeError", "ValueError"}
    assert _raised(PUBLIC["save"]) == {"OSError", "TypeError", "ValueError"}
    assert _raised(PUBLIC["point"]) == set()
