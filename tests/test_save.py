"""Model to file and back, whole or not at all."""

import json
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import warp_jax as wj

from .helpers import assert_same, make_model
from .oracle import Choices


def everything(seed):
    """Returns a tree with every kind of leaf that a training may hold."""
    key = jr.key(seed)
    return {
        "model": make_model(Choices("low_rank", drive="causal"), seed=seed),
        "key": key,
        "keys": jr.split(jr.key(seed, impl="rbg"), 3),
        "half": jr.normal(key, (3,), jnp.bfloat16),
        "empty": jnp.zeros((0, 2)),
        "whole": jnp.arange(3) + seed,
        "truth": jnp.array(seed % 2 == 0),
        "complex": jnp.array([1j, seed]),
        "numpy": np.arange(4.0) + seed,
        "numbers": (seed + 0.5, seed, seed % 2 == 0),
        "function": jnp.tanh,
        "nothing": None,
    }


def test_what_is_saved_is_loaded(tmp_path, precision):
    path, saved = tmp_path / "model", everything(1)
    wj.save(path, saved)
    loaded = wj.load(path, everything(2))
    same = jax.tree.map(
        lambda leaf: jr.key_data(leaf) if _is_key(leaf) else leaf, loaded
    )
    want = jax.tree.map(
        lambda leaf: jr.key_data(leaf) if _is_key(leaf) else leaf, saved
    )
    assert_same(same, want)
    assert jr.key_impl(loaded["keys"]) == jr.key_impl(saved["keys"])
    assert_same(jr.normal(loaded["key"]), jr.normal(saved["key"]))


def _is_key(leaf):
    return eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def test_a_file_opens_with_a_line_that_says_what_is_in_it(tmp_path):
    wj.save(tmp_path / "model", {"weight": jnp.ones((2, 3))})
    with open(tmp_path / "model", "rb") as file:
        header = json.loads(file.readline())
    assert header["version"] == wj.__version__
    assert header["leaves"] == [
        {"leaf": "['weight']", "shape": [2, 3], "dtype": "float32"}
    ]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    wj.save(path, {"weight": jnp.ones(2)})

    def full(*_):
        raise OSError(28, "No space left on device")

    for part in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, part, full)
            with pytest.raises(OSError, match=r"`save\(path, model\)`.*No space"):
                wj.save(path, {"weight": jnp.zeros(2)})
        assert_same(wj.load(path, {"weight": jnp.zeros(2)}), {"weight": jnp.ones(2)})
        assert os.listdir(tmp_path) == ["model"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"`save\(path, model\)`.*nowhere"):
        wj.save(tmp_path / "nowhere" / "model", {"weight": jnp.ones(2)})
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"`save\(path, model\)`.*folder"):
        wj.save(tmp_path / "folder", {"weight": jnp.ones(2)})
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(FileNotFoundError):
        wj.load(tmp_path / "nowhere", {"weight": jnp.ones(2)})


@pytest.mark.parametrize("kept", (0.0, 0.3, 0.7, 0.999))
def test_a_file_cut_off_anywhere_is_refused(tmp_path, kept):
    path, model = tmp_path / "model", make_model()
    wj.save(path, model)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=r"`load\(path, like\)`"):
        wj.load(path, model)


@pytest.mark.parametrize(
    "data", (b"", b"\n", b"{}\n", b"[1]\n", b"\x80\x04\x95\n", b'{"format": 1}\n')
)
def test_a_foreign_file_is_refused(tmp_path, data):
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"`load\(path, like\)`.*did not write.*model"):
        wj.load(path, {"weight": jnp.ones(2)})


@pytest.mark.parametrize(
    "other, fragment",
    (
        ({"weight": jnp.ones((2, 3))}, r"\[3, 2\].*\[2, 3\]"),
        ({"weight": jnp.ones((3, 2), jnp.float16)}, "float32.*float16"),
        ({"bias": jnp.ones((3, 2))}, "weight.*bias"),
        ({"weight": jnp.ones((3, 2)), "x": 1.0}, "1 leaves, and `like` 2"),
        ({}, "1 leaves, and `like` 0"),
    ),
)
def test_another_model_is_refused(tmp_path, other, fragment):
    wj.save(tmp_path / "model", {"weight": jnp.ones((3, 2))})
    with pytest.raises(ValueError, match=rf"`load\(path, like\)`.*{fragment}"):
        wj.load(tmp_path / "model", other)


def test_a_state_can_be_saved_and_streamed_on_from(tmp_path):
    model, xs = make_model(Choices(drive="causal")), jr.normal(jr.key(0), (5, 2))
    ts = jnp.linspace(0, 1, 5)
    wj.save(tmp_path / "state", model.final(xs[:4], ts[:4]))
    state = wj.load(tmp_path / "state", model.init(xs[0]))
    want = model.step(model.final(xs[:4], ts[:4]), xs[4], ts[4])
    assert_same(model.step(state, xs[4], ts[4]), want)
