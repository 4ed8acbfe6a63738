"""Run folders for the tests of reports, made without a training."""

import io
import json

import numpy as np
from PIL import Image


def row(model="GRU", metrics=None, **more):
    sizes = {"parameters": 10, "state_size": 4, "steps": 100}
    return {
        "model": model,
        "metrics": metrics or {"forecast_mse": 0.5},
        **sizes,
        **more,
    }


def summary(*rows, seed=0, experiment="sine", **more):
    return {
        "experiment": experiment,
        "dataset": experiment,
        "preset": "quick",
        "seed": seed,
        "seconds": 1.0,
        "results": list(rows) or [row()],
        "versions": {"jax": "0.10"},
        **more,
    }


def copy(path, *rows, **more):
    """Writes a summary alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary(*rows, **more)))
    return path


def folder(path, *rows, **more):
    """Writes a run folder, with curves, a figure and weights."""
    (path / "figures").mkdir(parents=True)
    copy(path / "summary.json", *rows, **more)
    (path / "config.json").write_text(json.dumps({"experiment": "sine", "seed": 0}))
    lines = [
        {"model": "GRU", "step": step, "loss": 1 / step, "validation": validation}
        for step, validation in ((1, 1.0), (2, float("nan")), (3, 0.001))
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in lines))
    image = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(image, "PNG")
    (path / "figures" / "<examples>.png").write_bytes(image.getvalue())
    weights(path)
    return path


def weights(path, **more):
    frames = np.linspace(0, 1, 3)
    change = frames[None, :, None, None] * np.array([1.0, -2.0])[:, None, None, None]
    arrays = {
        "times": frames,
        "labels": np.array(["a <0>", "b"]),
        "layer layers[0].weight": np.ones((2, 3, 2, 3)) * (1 + change),
        "layer layers[0].bias": np.zeros((2, 3, 2)),
    }
    np.savez(path / "weights.npz", **(arrays | more))
