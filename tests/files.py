"""What tests of loaders share: where real data lies, and how a refusal must read."""

import contextlib
import os
import pathlib
import random

import numpy as np
import pytest


DATA = pathlib.Path(
    os.environ.get("WARP_JAX_DATA")
    or pathlib.Path(__file__).parents[2] / "shared" / "data"
)


def real(name):
    """Marks a test that needs a file of real data."""
    return pytest.mark.skipif(
        not (DATA / name).exists(), reason=f"needs real data in {DATA / name}"
    )


@contextlib.contextmanager
def refused(path, *fragments, line=None):
    """Expects a `ValueError` that quotes the file, the line where there is one, and what is
    wrong with it and what to do.
    """
    with pytest.raises(ValueError) as caught:
        yield
    place = f"`{path}`" if line is None else f"`{path}:{line}`"
    for fragment in (place, *fragments):
        assert fragment in str(caught.value)
    assert len(str(caught.value)) < 1000


# How many wrong files of each format the slow tests make.
FUZZ = int(os.environ.get("WARP_JAX_FUZZ") or 10_000)
ANY = bytes(range(256))


def mistaken(rights, alphabet, noise: random.Random) -> bytes:
    """Returns a right file's bytes with a few mistakes, or now and then others altogether,
    half of what is wrong from an alphabet.
    """

    def some(most):
        count = noise.randrange(most + 1)
        letters = alphabet if noise.random() < 0.5 else ANY
        return bytes(noise.choices(letters, k=count))

    kind = noise.random()
    data = noise.choice(rights)
    if kind < 0.1:
        return some(80)
    if kind < 0.15:
        return data
    for _ in range(noise.randrange(1, 5)):
        start = noise.randrange(len(data) + 1)
        stop = start + noise.choice((0, 1, 1, 1, 4, 40))
        data = data[:start] + some(noise.choice((1, 1, 4))) + data[stop:]
    return data[: noise.randrange(len(data) + 1)] if noise.random() < 0.2 else data


def write_pictures(folder, count=40):
    """Writes noise that reads as MNIST."""
    random = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    np.savez(folder / "mnist.npz", **arrays)
