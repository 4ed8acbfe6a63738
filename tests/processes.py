"""Run as one of several processes that train together, or alone:

    python -m tests.processes INDEX COUNT PORT FOLDER

Leaves what was trained in `FOLDER/INDEX.npz`, and what was refused in `INDEX.json`.
"""

import json
import pathlib
import sys

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import warp_jax as wj

from .helpers import make_model, named_arrays, x64
from .meshes import sequences, train
from .oracle import Choices


def whole(tree, mesh):
    """Returns a tree of which every process has all."""
    return eqx.filter_shard(tree, NamedSharding(mesh, PartitionSpec()))


def ways(mesh: Mesh, folder: pathlib.Path):
    """Yields a name, and what is trained, for each way to train on a mesh."""
    model = make_model(Choices("dense", decoder="observing"))
    rows = {"mesh": mesh, "placement": wj.SplitRows("state", least=20)}
    yield "data", train(model, mesh=mesh)
    yield "tensor", train(model, **rows)

    # Each process has its own part of the examples, of one batch that is always the same.
    split = NamedSharding(mesh, PartitionSpec("batch"))
    parts, index = jax.process_count(), jax.process_index()
    own = [np.split(np.asarray(a[:16]), parts)[index] for a in sequences()]
    batch = tuple(jax.make_array_from_process_local_data(split, a) for a in own)
    yield "parts", train(model, lambda step: batch, mesh=mesh)

    kept = {"checkpoint": folder / "kept", "every": 5}
    train(model, steps=10, **rows, **kept)
    other = make_model(Choices("dense", decoder="observing"), seed=1)
    yield "resumed", train(other, **rows, **kept, resume=True)


def refusals(mesh: Mesh, folder: pathlib.Path) -> list[str]:
    """Returns what is said of arrays that processes cannot share."""
    index, said = jax.process_index(), []
    model, (xs, ts) = make_model(), sequences()
    here = jax.device_put(xs, jax.local_devices()[0])
    for given, data in (
        (make_model(seed=index), None),
        (model, lambda step: (xs[:16] + index, ts[:16])),
        (model, lambda step: (here[:16], ts[:16])),
    ):
        try:
            train(given, data, mesh=mesh, steps=1)
        except ValueError as error:
            said.append(str(error))
    split = jax.device_put(xs[:16], NamedSharding(mesh, PartitionSpec("batch")))
    try:
        wj.save(folder / "model", {"xs": split})
    except ValueError as error:
        said.append(str(error))
    return said


def run(index: int, count: int, port: str, folder: pathlib.Path):
    if count > 1:
        jax.distributed.initialize(
            f"localhost:{port}", count, index, initialization_timeout=60
        )
    assert jax.process_count() == count and jax.device_count() == 4
    mesh = jax.make_mesh((2, 2), ("batch", "state"))
    with x64(True):
        found = {}
        for name, (model, history) in ways(mesh, folder):
            model, losses = whole((model, history.loss), mesh)
            found |= {name + k: v for k, v in named_arrays(model).items()}
            found[f"{name} loss"] = np.asarray(losses)
        said = refusals(mesh, folder) if count > 1 else []
    np.savez(folder / f"{index}.npz", **found)
    (folder / f"{index}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], pathlib.Path(sys.argv[4]))
