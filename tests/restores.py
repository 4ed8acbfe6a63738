"""Run with any number of devices, goes on from what another number of them left:

    python -m tests.restores FOLDER STEPS

Leaves what was trained in `FOLDER/DEVICES.npz`, and where there is none a file `model`.
"""

import pathlib
import sys
from typing import Any

import equinox as eqx
import jax
import numpy as np

import warp_jax as wj

from .helpers import assert_same, make_model, named_arrays, x64
from .meshes import train
from .oracle import Choices
from .traffic import spied


def check_split(transition, devices: int):
    for name, columns in ("A", 32), ("B", 2):
        pieces = getattr(transition, name).addressable_shards
        assert {p.data.shape for p in pieces} == {(32 // devices, columns)}, name
        assert len({str(p.index) for p in pieces}) == len(pieces) == devices, name


def run(folder: pathlib.Path, steps: int):
    devices = jax.device_count()
    # A state of 32, which divides by eight.
    choices = Choices("dense", decoder="observing", coordinates="sinusoidal")
    rows = {
        "mesh": jax.make_mesh((1, devices), ("batch", "state")),
        "placement": wj.SplitRows("state", least=20),
    }
    with spied() as seen:
        model, history = train(
            make_model(choices, seed=devices),
            steps=steps,
            every=5,
            checkpoint=folder / "kept",
            resume=True,
            **rows,
        )
    adam = seen[0][2].optimizer_state[0]
    for part in (model, adam.mu, adam.nu):
        check_split(part.transition, devices)

    if not (file := folder / "model").exists():
        wj.save(file, model)
    loaded = wj.load(file, like=model)
    check_split(loaded.transition, devices)
    plain: Any = make_model(choices)
    alone = wj.load(file, like=plain)
    assert len(alone.transition.A.devices()) == 1
    assert_same(
        jax.device_get(eqx.filter(alone, eqx.is_array)),
        jax.device_get(eqx.filter(loaded, eqx.is_array)),
    )
    trained: dict[str, Any] = named_arrays(model) | {"loss": np.asarray(history.loss)}
    np.savez(folder / f"{devices}.npz", **trained)


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    with x64(True):
        run(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
