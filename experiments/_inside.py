"""trained models -> what their weights do as sequences pass, in figures."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float
from matplotlib.figure import Figure

import warp_jax as wj

from . import _figures as figures
from ._mapped import mapped
from ._problems import Problem
from ._recipes import Recipe
from ._run import Run


SEQUENCES = 60
# Paths in a figure that can still be told apart.
PATHS = 12
# A figure of all: only these are about A.
STRUCTURES = "A: "


def draw(
    run: Run,
    problem: Problem,
    trained: Mapping[str, tuple[Recipe, Any, Any]],
) -> None:
    """Draws what each axis came to, the spectrum of each A before and after the training,
    and of the base recipe the weights by layer and by mode; and writes `weights.npz`.

    - `trained`: recipe, model before and model after, by name.
    """
    if run.results:
        run.figure("axes", by_axis(run.results, problem.metric))
    structures = {
        name: (before, after)
        for name, (_, before, after) in trained.items()
        if name.startswith(STRUCTURES)
    }
    if structures:
        run.figure("spectra", spectra(structures, problem.shape.length))
    for recipe, _, model in trained.values():
        if recipe == problem.base:
            _draw_weights(run, problem, model)


def _draw_weights(run: Run, problem: Problem, model: wj.WARP) -> None:
    (network,) = (p for p in _parts(model.decoder) if isinstance(p, wj.NetworkDecoder))
    some = problem.validation.head(SEQUENCES)
    seen = some.xs[:, : problem.shape.length]
    thetas = np.asarray(mapped(_weights, model, seen, some.mask))
    run.weights(network.unflatten, thetas[:4], [str(n) for n in some.labels[:4]])
    layers = {n: thetas[:PATHS, :, i] for n, i in layers_of(network).items()}
    run.figure("layers", figures.layer_trajectories(layers, some.labels[:PATHS]))
    run.figure("modes", modes_figure(model.transition, thetas))


def _weights(model: wj.WARP, xs, mask=None):
    return model.weights(xs, mask=mask)


def _parts(decoder: wj.AbstractDecoder) -> list[Any]:
    is_part = lambda part: isinstance(part, wj.NetworkDecoder)  # noqa: E731
    return jax.tree.leaves(decoder, is_leaf=is_part)


def layers_of(decoder: wj.NetworkDecoder) -> dict[str, np.ndarray]:
    """Returns by layer which numbers of a state are its weights and biases."""
    places = decoder.unflatten(jnp.arange(decoder.state_size, dtype=float))
    return {
        f"layer {i + 1}": np.concatenate(
            [np.ravel(leaf).astype(int) for leaf in jax.tree.leaves(layer)]
        )
        for i, layer in enumerate(places.layers)
    }


def scales(
    eigenvalues: Complex[np.ndarray, " p"], length: int
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Returns by how many full turns an eigenvalue goes round over a sequence, and by how
    many factors of e it grows.
    """
    turns = length * np.abs(np.angle(eigenvalues)) / (2 * np.pi)
    return turns, length * np.log(np.maximum(np.abs(eigenvalues), 1e-6))


def spectra(models: Mapping[str, tuple[wj.WARP, wj.WARP]], length: int) -> Figure:
    """Draws the eigenvalues of A before and after the training, in units of a sequence."""
    columns = min(4, len(models))
    rows = -(-len(models) // columns)
    figure, grid = figures.axes(rows, columns, width=2.6, height=2.3)
    for ax in grid.flat[len(models) :]:
        ax.set_axis_off()
    for ax, (name, pair) in zip(grid.flat, models.items()):
        for model, label, style in zip(
            pair, ("before", "after"), ({"mfc": "none", "mec": "0.4"}, {"mec": "none"})
        ):
            values = np.linalg.eigvals(np.asarray(model.transition.matrix(), float))
            turns, growth = scales(values, length)
            size = 6 if label == "before" else 4
            ax.plot(turns, growth, "o", markersize=size, label=label, **style)
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_yscale("symlog", linthresh=0.1)
        # The same window for all: up to half a turn a step.
        ax.set(xlim=(-0.03, length / 2), ylim=(-30, 30))
        ax.set_title(name, fontsize=8)
        ax.set(xlabel="turns over a sequence", ylabel="log growth")
    grid[0, 0].legend(frameon=False, fontsize=7)
    return figure


def modes_of(
    A: Float[np.ndarray, "p p"], count: int = 16
) -> tuple[Complex[np.ndarray, " m"], Complex[np.ndarray, "m p"]]:
    """Returns eigenvalues of A that stand apart from most, one of each conjugate pair, the
    slowest first, and its left eigenvectors: `w @ theta_t` moves by its eigenvalue alone.
    """
    values, vectors = np.linalg.eig(np.asarray(A, float).T)
    apart = np.abs(values - np.median(np.real(values)))
    kept = np.flatnonzero((np.imag(values) >= 0) & (apart > 1e-6))
    kept = kept[np.argsort(-apart[kept])[:count]]
    kept = kept[np.argsort(np.angle(values[kept]))]
    return values[kept], vectors[:, kept].T


def modes_figure(
    transition: wj.AbstractTransition, thetas: Float[np.ndarray, "n t p"]
) -> Figure:
    """Draws when each mode of A differs most from one sequence to another: the deviation
    of its coefficient over sequences, relative to its largest.
    """
    length = thetas.shape[1]
    values, vectors = modes_of(np.asarray(transition.matrix()))
    coefficients = np.einsum("ntp,mp->ntm", thetas, vectors)
    spread = coefficients.std(0).T
    relative = spread / np.maximum(spread.max(1, keepdims=True), 1e-12)
    turns, growth = scales(values, length)
    figure, ((ax,),) = figures.axes(1, 1, width=4.6, height=3)
    image = ax.imshow(relative, aspect="auto", vmin=0, vmax=1, cmap="viridis")
    ticks = [f"{turn:.1f}, {rate:+.1f}" for turn, rate in zip(turns, growth)]
    ax.set_yticks(range(len(ticks)), ticks, fontsize=6)
    ax.set(xlabel="step", ylabel="mode: turns, log growth")
    figure.colorbar(image, label="deviation over sequences")
    return figure


def by_axis(results: list[dict], metric: str) -> Figure:
    """Draws a metric of each variant, an axis in a panel."""
    groups: dict[str, dict[str, float]] = {}
    for row in results:
        axis, _, name = row["model"].partition(": ")
        groups.setdefault(axis, {})[name] = row["metrics"][metric]
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure, grid = figures.axes(rows, columns, height=1.7)
    for ax in grid.flat[len(groups) :]:
        ax.set_axis_off()
    for ax, (axis, group) in zip(grid.flat, groups.items()):
        ax.plot(list(group.values()), range(len(group)), "o", color="tab:blue")
        ax.set_yticks(range(len(group)), list(group), fontsize=6)
        ax.invert_yaxis()
        ax.set_title(f"{axis}: {metric}", fontsize=7)
    return figure
