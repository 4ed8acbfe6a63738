"""law, starts -> trajectories: what the data sets that are made have in common."""

import contextlib
import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .dataset import Dataset, Split, user_cache


PIECE = 1024
# Each is drawn from a random stream of its own, so that the size of one changes no other.
PARTS = ("train", "validation", "test", "in_range")
TOLERANCE = 1e-9


class Sizes(NamedTuple):
    """How many examples each part of a data set has; `test` counts for each test set."""

    train: int
    validation: int
    test: int


def assemble(
    name: str,
    sizes: Sizes,
    make: Callable[[np.random.Generator, int, bool], Split],
    scale: np.ndarray | None = None,
) -> Dataset:
    """Returns a data set of four parts.

    - `make`: `(random, count, outside) -> part`; `outside` asks for the range of the test.
    """
    counts = dict(zip(PARTS, (*sizes, sizes.test)))
    parts: dict[str, Any] = {
        part: make(stream(part), count, part == "test")
        for part, count in counts.items()
    }
    return Dataset(name, **parts, scale=scale)


def stream(part: str) -> np.random.Generator:
    """Returns the random numbers that the part of this name is drawn from."""
    return np.random.default_rng((0, PARTS.index(part)))


def integrate(
    field: Callable[[Float[Array, " d"], Float[Array, " k"]], Float[Array, " d"]],
    starts: Float[np.ndarray, "n d"],
    constants: Float[np.ndarray, "n k"],
    times: Float[np.ndarray, " t"],
) -> Float[np.ndarray, "n t d"]:
    """Returns the solutions of `x' = field(x, constants)` at `times`, in double precision,
    with errors of about 1e-9 a step (Dormand-Prince of order 8).
    """
    with jax.enable_x64(True):
        pieces = [
            np.asarray(
                _solve(
                    field,
                    jnp.asarray(starts[i : i + PIECE]),
                    jnp.asarray(constants[i : i + PIECE]),
                    jnp.asarray(times),
                )
            )
            for i in range(0, len(starts), PIECE)
        ]
    return np.concatenate(pieces)


@eqx.filter_jit
def _solve(field, starts, constants, times):
    def one(start, constant):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, constant: field(x, constant)),
            diffrax.Dopri8(),
            times[0],
            times[-1],
            None,
            start,
            constant,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
            max_steps=100_000,
        )
        assert solution.ys is not None
        return solution.ys

    return jax.vmap(one)(starts, constants)


def cached(
    name: str,
    make: Callable[[], dict[str, np.ndarray]],
    folder: pathlib.Path | None = None,
    **configuration: Any,
) -> dict[str, np.ndarray]:
    """Returns `make()`, or what it returned the last time that the configuration was this
    one.

    **Arguments:**

    - `name`: of the file, before the checksum of the configuration.
    - `folder`: where files are kept; by default the user's cache.
    - `configuration`: all that the arrays depend on, as JSON can say it.
    """
    folder = folder or user_cache() / "made"
    text = json.dumps(configuration, sort_keys=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    try:
        # Opened here, so that it is closed whatever `numpy` makes of it.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        # Not there, or cut off: made again.
        arrays = make()
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]
        temporary.replace(path)
    except OSError:
        # A cache that cannot be written costs time, and nothing else.
        with contextlib.suppress(OSError):
            temporary.unlink()
    return arrays
