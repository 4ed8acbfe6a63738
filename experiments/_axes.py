"""axis -> variants: the one table of what `ablations` changes, a part at a time."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import warp_jax as wj

from ._recipes import (
    dropped,
    fixed_identity,
    hypernetwork,
    learnt,
    linear,
    LOW_RANK,
    matched,
    none,
    plain,
    Recipe,
    self_decoding,
    separate,
    single,
    stacked,
    SUBSPACE,
    thin,
    time_alone,
    waves,
)
from ._tasks import Classification, PooledClassification


# What makes another recipe of a base.
Change = Callable[[Recipe], Recipe]

LAST = Classification(by_accuracy=True)
POOLED = PooledClassification(by_accuracy=True)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Gives fields of a recipe other values."""

    fields: dict[str, Any]

    def __call__(self, base: Recipe) -> Recipe:
        return dataclasses.replace(base, **self.fields)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Gives fields of what is asked other values, and fields of the recipe that go with
    them.
    """

    fields: dict[str, Any]
    beside: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, base: Recipe) -> Recipe:
        task = dataclasses.replace(base.task, **self.fields)
        return dataclasses.replace(base, task=task, **self.beside)


def setting(**fields: Any) -> Setting:
    return Setting(fields)


def _uncertain(decoder: wj.AbstractDecoder) -> wj.AbstractDecoder:
    return wj.GaussianDecoder(decoder, min_std=1e-3)


def _swept(field: str, *values: Any) -> dict[str, Change]:
    return {f"{value:g}": setting(**{field: value}) for value in values}


AXES: dict[str, dict[str, Change]] = {
    "A": {
        "fixed to I": setting(structure=plain(fixed_identity)),
        "diagonal": setting(structure=plain(wj.DiagonalTransition)),
        "block 16": setting(
            structure=plain(
                functools.partial(wj.BlockDiagonalTransition, block_size=16)
            )
        ),
        "low rank 16": setting(structure=LOW_RANK),
        "dense": setting(structure=plain(wj.DenseTransition)),
        "subspace 16": setting(structure=SUBSPACE),
        "subspace 16, mode dropout": setting(structure=dropped),
    },
    "drive": {
        "increments": setting(drive=wj.Increments()),
        "values": setting(drive=wj.Values()),
        "increments and time": setting(drive=wj.Increments(time_channel=True)),
    },
    "decoder": {
        "self-decoding": setting(reading=self_decoding),
        "linear": setting(reading=linear),
        "separate, equal D_θ": setting(reading=separate),
        "separate, equal parameters": setting(reading=separate, assemble=matched),
    },
    "theta_0": {
        "hypernetwork": setting(start=hypernetwork),
        "learnt": setting(start=learnt),
    },
    "coordinates": {
        "time": setting(coordinates=time_alone),
        "time and waves": setting(coordinates=waves),
        "none": setting(coordinates=none),
    },
    # Read at one time for all, a state's network sees no other coordinate.
    "coordinates, pooled": {
        "time": setting(coordinates=time_alone, task=POOLED),
        "time and waves": setting(coordinates=waves, task=POOLED),
        "none": setting(coordinates=none, task=POOLED),
    },
    "read": {"last": setting(task=LAST), "pooled 16": setting(task=POOLED)},
    "loss": {
        "MSE": Asked({"objective": wj.mse}),
        "NLL": Asked(
            {"objective": wj.gaussian_nll},
            {"numbers": 2, "distribution": _uncertain},
        ),
    },
    "forcing": {f"{p:g}": Asked({"forcing": p}) for p in (0.0, 0.25, 1.0)},
    "D_θ": _swept("weights", 100, 200, 400),
    "depth": _swept("depth", 1, 2, 3),
    "rank": {
        "4": setting(structure=functools.partial(thin, rank=4)),
        "16": setting(structure=LOW_RANK),
        "64": setting(structure=functools.partial(thin, rank=64)),
    },
    "modes": {
        "4": setting(structure=functools.partial(SUBSPACE, modes=4)),
        "16": setting(structure=SUBSPACE),
        "64": setting(structure=functools.partial(SUBSPACE, modes=64)),
    },
    "cycles": _swept("cycles", 0.1, 1.0, 3.0, 10.0, 30.0),
    "layers": {"1": setting(assemble=single), "2": setting(assemble=stacked)},
}

COMMON = ("A", "drive", "decoder", "theta_0", "D_θ", "depth", "rank", "modes", "cycles")


def variants(base: Recipe, axes: Sequence[str]) -> Iterator[tuple[str, Recipe]]:
    """Yields each variant of each axis, as "A: diagonal" and its recipe: the base with one
    part changed, or the base itself, under the name of what it has.
    """
    for axis in axes:
        for name, change in AXES[axis].items():
            yield f"{axis}: {name}", change(base)
