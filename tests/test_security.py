"""Nothing that is read is ever run, or fetched or written where it should not be."""

import ast
import io
import json
import pathlib
import random
import zipfile

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import requests

import warp_jax as wj
import warp_jax._save as saving
from experiments._data import download, uea
from experiments._data.download import Fetcher

from .files import ANY, FUZZ, mistaken
from .helpers import assert_same, make_model


ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted(
    path for part in ("warp_jax", "experiments") for path in (ROOT / part).rglob("*.py")
)
# What reads pickles, or runs what it reads.
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MODULES |= {"runpy", "urllib.request"}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
# Those of archives unpack to whatever path the archive names.
METHODS = {"extract", "extractall", "unpack_archive", "system", "popen", "urlretrieve"}
METHODS |= {"read_pickle", "to_pickle", "literal_eval"}


def complaints(tree):
    """Yields what a module should not do."""
    documented = {
        id(part.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for part in node.body[:1]
        if isinstance(part, ast.Expr)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{a.name}" for a in node.names)]
        for name in names:
            if name in MODULES or name.split(".")[0] in MODULES:
                yield f"import {name}"
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in CALLS:
                yield called.id
            if isinstance(called, ast.Attribute) and called.attr in METHODS:
                yield called.attr
            given = {word.arg: word.value for word in node.keywords}
            numpys = ast.unparse(called) in ("np.load", "np.savez_compressed")
            pickled = given.get("allow_pickle", None if numpys else ast.Constant(False))
            if not (isinstance(pickled, ast.Constant) and pickled.value is False):
                yield "allow_pickle"
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith(("http://", "ftp://"))
            and id(node) not in documented
        ):
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_unpickles_or_runs_what_it_reads(path):
    assert list(complaints(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    (
        "import pickle",
        "from pickle import loads",
        "import os, marshal as m",
        "eval('1')",
        "archive.extractall(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=chosen)",
        "jnp.load(path, allow_pickle=True)",
        "URL = 'http://example.org'",
    ),
)
def test_the_check_finds_what_it_is_for(text):
    assert list(complaints(ast.parse(text)))


def test_what_only_looks_alike_passes_the_check():
    text = (
        '"""See http://example.org."""\nnp.load(path, allow_pickle=False)\nmodel.eval'
    )
    assert list(complaints(ast.parse(text))) == []


def sealed(data):
    """Returns a file's bytes with a right checksum, as one who means ill would."""
    digest = saving.hashlib.sha256(data).digest()
    return data + digest


def test_a_pickle_in_a_file_is_not_run(tmp_path):
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self):
            return pathlib.Path.touch, (trap,)

    path, like = tmp_path / "model", {"w": np.zeros(2)}
    wj.save(path, like)
    head = path.read_bytes().split(b"\n")[0] + b"\n"
    hidden = np.empty(2, object)
    hidden[0] = Trap()
    for writer in (np.save, np.savez):
        stream = io.BytesIO()
        writer(stream, hidden)
        path.write_bytes(sealed(head + stream.getvalue()))
        for tree in (like, {"w": jnp.zeros(2)}, {"w": 0.5}):
            with pytest.raises(ValueError, match=r"`load\(path, like\)`"):
                wj.load(path, tree)
    with pytest.raises(
        TypeError, match=r"`save\(path, model\)`.*Python objects at .'w'"
    ):
        wj.save(path, {"w": hidden})
    assert not trap.exists()


def fuzz_models(path, count, seal):
    """Loads files with mistakes: each is refused, or is the model that was saved."""
    model = {"mlp": eqx.nn.MLP(1, 1, 2, 1, key=jr.key(0)), "key": jr.key(1), "x": 0.5}
    model |= {"half": jnp.ones(2, jnp.bfloat16), "array": np.arange(3)}
    wj.save(path, model)
    right, noise, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(count):
        body = right[: -saving.DIGEST] if seal else right
        data = mistaken([body], ANY, noise)
        path.write_bytes(sealed(data) if seal else data)
        try:
            got = wj.load(path, model)
        except ValueError as error:
            assert str(error).startswith("`load(path, like)`"), error
            refused += 1
        else:
            # With a right checksum the values may be any, of the same kinds.
            assert saving.describe(saving.with_key_data(got)) == saving.describe(
                saving.with_key_data(model)
            )
            assert seal or data == right
    assert refused > count / 2
    path.write_bytes(right)
    assert_same(wj.load(path, model)["mlp"], model["mlp"])


@pytest.mark.parametrize("seal", (False, True), ids=("as it is", "checksum made right"))
def test_any_bytes_are_refused_or_a_model(seal, tmp_path):
    fuzz_models(tmp_path / "model", 300, seal)


@pytest.mark.slow
@pytest.mark.parametrize("seal", (False, True), ids=("as it is", "checksum made right"))
def test_many_files_are_refused_or_a_model(seal, tmp_path):
    fuzz_models(tmp_path / "model", FUZZ, seal)


def test_every_byte_of_a_model_counts(tmp_path):
    path, model = tmp_path / "model", make_model()
    wj.save(path, model)
    right, noise = path.read_bytes(), random.Random(0)
    for place in noise.sample(range(len(right)), 100):
        wrong = bytearray(right)
        wrong[place] ^= 1 << noise.randrange(8)
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"`load\(path, like\)`"):
            wj.load(path, model)


@pytest.mark.parametrize(
    "head",
    (b"[" * 100_000, b'{"format": ' + b"9" * 5000, b'{"format": "warp_jax model 1"'),
)
def test_a_head_of_any_kind_is_refused(head, tmp_path):
    (tmp_path / "model").write_bytes(head + b', "leaves": []}\n')
    with pytest.raises(ValueError, match="did not write"):
        wj.load(tmp_path / "model", {})


def test_an_older_file_is_told_from_a_foreign_one(tmp_path):
    head = json.dumps({"format": "warp_jax model 1", "leaves": []})
    (tmp_path / "model").write_text(head + "\n")
    with pytest.raises(
        ValueError, match="is 'warp_jax model 1', and this version reads"
    ):
        wj.load(tmp_path / "model", {})


@pytest.mark.parametrize(
    "url", ("http://example.org/", "ftp://example.org/", "file:///")
)
def test_only_https_is_asked(url, tmp_path):
    with pytest.raises(ValueError, match="need an address of https://"):
        Fetcher(tmp_path, url, {"a": None})


@pytest.mark.parametrize(
    "location, allowed",
    (
        ("https://example.org/b", True),
        ("/b", True),
        ("http://example.org/b", False),
        ("//example.org/b", True),
        ("ftp://example.org/b", False),
    ),
)
def test_no_server_sends_on_to_less_than_https(location, allowed):
    response = requests.Response()
    response.url, response.status_code = "https://example.org/a", 302
    response.headers["location"] = location
    if allowed:
        download._follow(response)
    else:
        with pytest.raises(ValueError, match="https"):
            download._follow(response)


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info, target


@pytest.mark.parametrize(
    "place", ("../../{}", "/{}", "a/../../{}", "..\\{}", "C:\\{}", "~/{}", "./{}")
)
@pytest.mark.parametrize("kind", ("file", "link"))
def test_an_archive_writes_nowhere_but_where_it_is_asked(
    place, kind, tmp_path, monkeypatch
):
    folder = tmp_path / "deep" / "data"
    names = "Toy_TRAIN.ts", "Toy_TEST.ts"

    class Served:
        def __init__(self, target, url, registry):
            self.target = target

        def fetch(self, name):
            self.target.mkdir(parents=True)
            with zipfile.ZipFile(self.target / name, "w") as archive:
                for part in names:
                    path = place.format(part)
                    info = link(path, "")[0] if kind == "link" else path
                    archive.writestr(info, str(tmp_path / "secret"))
            return self.target / name

    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(uea, "Fetcher", Served)
    try:
        uea._download("Toy", folder)
    except ValueError as error:
        assert "holds no" in str(error) and "\\" in place
    written = {p for p in tmp_path.rglob("*") if p.is_file()} - {tmp_path / "secret"}
    assert written in (set(), {folder / "uea" / name for name in names})
    # A link is what it says, not what it leads to.
    assert all(not p.is_symlink() and p.read_text() != "secret" for p in written)


def test_the_page_of_security_says_how_to_report():
    text = (ROOT / "SECURITY.md").read_text()
    assert "private vulnerability report" in text and "@" not in text
