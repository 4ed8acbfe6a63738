"""results -> figures that every experiment draws the same way."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure


matplotlib.use("Agg")
STYLE: dict = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}


def axes(rows: int = 1, columns: int = 1, width: float = 3.2, height: float = 2.6):
    """Returns a new figure and its axes, `(rows, columns)`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((width * columns, height * rows), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)


def learning_curves(curves: dict[str, list[dict]], validation: str) -> Figure:
    """Draws the training loss and the validation figure of every model by step."""
    figure, ((left, right),) = axes(1, 2, width=4.2)
    for model, lines in curves.items():
        steps = [line["step"] for line in lines]
        left.plot(steps, [line["loss"] for line in lines], label=model)
        right.plot(steps, [line["validation"] for line in lines], label=model)
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel=validation)
    if curves:
        right.legend(frameon=False, fontsize=7)
    return figure


def images(columns: dict[str, np.ndarray], low: float = 0, high: float = 1) -> Figure:
    """Draws images, `(examples, height, width)` under each title, one example a row."""
    count = len(next(iter(columns.values())))
    figure, grid = axes(count, len(columns), width=1.1, height=1.1)
    for column, (title, pictures) in enumerate(columns.items()):
        grid[0, column].set_title(title, fontsize=7)
        for row in range(count):
            ax = grid[row, column]
            ax.imshow(pictures[row], cmap="gray_r", vmin=low, vmax=high)
            ax.set_axis_off()
    return figure


def bands(
    truth: np.ndarray, means: np.ndarray, stds: np.ndarray, context: int
) -> Figure:
    """Draws sequences `(examples, time)` with forecasts `(examples, horizon)` as bands of
    one and two standard deviations.
    """
    figure, (row,) = axes(1, len(truth), width=3.4)
    for ax, true, mean, std in zip(row, truth, means, stds):
        ahead = np.arange(context, context + len(mean))
        ax.plot(true, color="black", linewidth=1, label="truth")
        ax.plot(ahead, mean, color="tab:blue", linewidth=1, label="mean")
        for width, alpha in ((2, 0.15), (1, 0.3)):
            low, high = mean - width * std, mean + width * std
            ax.fill_between(
                ahead, low, high, color="tab:blue", alpha=alpha, linewidth=0
            )
        ax.axvline(context - 0.5, color="gray", linewidth=0.8, linestyle=":")
        ax.set(xlabel="step")
    row[0].legend(frameon=False, fontsize=7)
    return figure


def ahead(
    past: np.ndarray, again: np.ndarray, future: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draws the end of a series, `(time, channels)`, a panel for each of the first ones;
    and, both `(horizon, channels)`, what a model said of the last steps before it saw them
    and what it says of those that follow.
    """
    length, horizon = len(past), len(future)
    count = min(6, past.shape[1])
    figure, grid = axes(count, 1, width=6, height=2.2)
    for i, ax in enumerate(grid[:, 0]):
        ax.plot(np.arange(-length, 0) + 1, past[:, i], color="black", linewidth=1)
        told = np.arange(-horizon, 0) + 1
        ax.plot(told, again[:, i], "--", linewidth=1, label="forecast of what is known")
        ax.plot(told + horizon, future[:, i], linewidth=1, label="forecast")
        ax.axvline(0, color="gray", linewidth=0.8, linestyle=":")
        ax.set(ylabel=names[i])
    grid[0, 0].legend(frameon=False, fontsize=7)
    grid[-1, 0].set(xlabel="steps after the last row")
    return figure


def weight_trajectories(thetas: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """Draws states `(examples, time, state)` in their first two principal components, one
    colour for each label; a dot marks each end.
    """
    figure, ((ax,),) = axes(1, 1, width=5, height=4.2)
    _trajectories(ax, thetas, labels, title)
    return figure


def layer_trajectories(layers: dict[str, np.ndarray], labels: np.ndarray) -> Figure:
    """Draws the weights of each layer, `(examples, time, weights)`, in a panel."""
    figure, (row,) = axes(1, len(layers), width=3.4, height=3)
    for ax, (title, thetas) in zip(row, layers.items()):
        _trajectories(ax, thetas, labels, title)
    return figure


def _trajectories(ax, thetas: np.ndarray, labels: np.ndarray, title: str) -> None:
    flat = thetas.reshape(-1, thetas.shape[-1])
    centred = flat - flat.mean(0)
    _, scale, directions = np.linalg.svd(centred, full_matrices=False)
    share = scale[:2] ** 2 / np.sum(scale**2)
    plane = (centred @ directions[:2].T).reshape(*thetas.shape[:2], 2)
    colours = matplotlib.colormaps["tab10"]
    for path, label in zip(plane, labels):
        ax.plot(*path.T, color=colours(int(label) % 10), linewidth=0.6, alpha=0.7)
        ax.plot(*path[-1], "o", color=colours(int(label) % 10), markersize=3)
    ax.set(
        title=title,
        xlabel=f"first component ({share[0]:.0%} of the variance)",
        ylabel=f"second component ({share[1]:.0%})",
    )


def overlay(truth: np.ndarray, predictions: dict[str, np.ndarray]) -> Figure:
    """Draws one sequence, `(time,)`, and each prediction of it in a panel of its own."""
    columns = 3
    rows = max(1, -(-len(predictions) // columns))
    figure, grid = axes(rows, columns, height=1.8)
    for ax, (name, prediction) in zip(grid.flat, predictions.items()):
        ax.plot(truth, color="black", linewidth=1)
        ax.plot(prediction, "--", color="tab:blue", linewidth=1)
        ax.set_title(name, fontsize=7)
    return figure


def planes(truth: np.ndarray, predictions: dict[str, np.ndarray]) -> Figure:
    """Draws the first two channels against each other, of a sequence `(time, channels)` and
    of each prediction of it in a panel of its own.
    """
    columns = 3
    rows = max(1, -(-len(predictions) // columns))
    figure, grid = axes(rows, columns)
    for ax, (name, prediction) in zip(grid.flat, predictions.items()):
        ax.plot(*truth.T[:2], color="black", linewidth=1)
        ax.plot(*prediction.T[:2], "--", color="tab:blue", linewidth=1)
        ax.set_title(name, fontsize=7)
    return figure
