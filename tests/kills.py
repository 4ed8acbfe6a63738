"""Kills a small run at random moments, resumes it, and compares it with one left alone.

    python -m tests.kills --sigkill 40 --sigterm 10

Takes minutes; a few kills are in the slow tests. Ends with a line of what happened, or with
what differs.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

import warp_jax as wj
from experiments._config import Config
from experiments._run import Run
from experiments._signals import SIGNALS
from experiments._trial import Trial


ROOT = pathlib.Path(__file__).parents[1]
STEPS = 100
# So many kills at most are of one run, before it is left to end.
CHAIN = 10


def small_loss(model: eqx.nn.MLP, xs: jax.Array, key: jax.Array) -> jax.Array:
    """Returns the error of the last of a few noisy steps, forecast from the others."""
    noisy = xs + 0.01 * jr.normal(key, xs.shape)
    return wj.mse(jax.vmap(model)(noisy[:, :-1]), xs[:, -1:])


def small_run(config: Config, disturb: Callable[[], None] = lambda: None) -> dict:
    """Trains a model at two rates on sines, in seconds.

    - `disturb`: called with every figure of validation, and of the test.
    """
    run = Run("small", "sines", config)
    phases = jnp.linspace(0, 6, 32)[:, None]
    xs = jnp.sin(phases + jnp.linspace(0, 6, 8)[None])
    error = eqx.filter_jit(lambda model: small_loss(model, xs, jr.key(0)))

    def figure(model: eqx.nn.MLP) -> float:
        disturb()
        return float(error(model))

    trial = Trial(
        name="MLP",
        model=eqx.nn.MLP(7, 1, 4, 1, key=run.key("model")),
        loss=small_loss,
        batches=wj.Batches(xs, 8, key=run.key("batches")),
        steps=run.config.steps or STEPS,
        state_size=0,
        validate=figure,
        test=lambda model: {"forecast_mse": figure(model)},
    )
    run.choose("MLP", trial.at((1e-3, 1e-2)))
    return run.finish()


def outcome(folder: pathlib.Path) -> dict:
    """Returns all that a run leaves, but for times and what changes nothing."""

    def untimed(row):
        return {k: v for k, v in row.items() if k != "seconds"}

    summary = json.loads((folder / "summary.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    names = (p.relative_to(folder) for p in folder.rglob("*"))
    trainings = sorted((folder / "checkpoints").iterdir())
    kept = {t.name: sorted(int(step.name) for step in t.iterdir()) for t in trainings}
    return {
        "results": [untimed(row) for row in summary["results"]],
        "metrics": [untimed(json.loads(line)) for line in lines],
        "model": (folder / "models" / "mlp.eqx").read_bytes(),
        # Down to the trainings; in their checkpoints are names of orbax's.
        "files": sorted(str(n) for n in names if len(n.parts) <= 2),
        # The one before the last may be where SIGTERM stopped the training.
        "checkpoints": {name: (len(steps), steps[-1]) for name, steps in kept.items()},
    }


def unfinished(folder: pathlib.Path) -> list[str]:
    """Returns the names of temporary files, and of folders of them."""
    return [
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.name.endswith(".new")
        or (p.parent.parent.name == "checkpoints" and not p.name.isdigit())
    ]


def start(folder: pathlib.Path) -> subprocess.Popen:
    option = "--resume" if (folder / "config.json").exists() else "--out"
    command = [sys.executable, "-m", "tests.kills", option, str(folder)]
    # Compiled once, so that most kills come while it trains and writes.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / ".compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | cache, **pipes)


def wait_until_begun(process: subprocess.Popen, folder: pathlib.Path) -> None:
    """Waits until the process has the folder: before, there is nothing to kill."""
    lock = folder / ".lock"
    while process.poll() is None:
        if lock.exists() and lock.read_text().startswith(f"{process.pid} "):
            return
        time.sleep(0.01)


def kill(folder: pathlib.Path, number: signal.Signals, delay: float) -> bool:
    """Starts or resumes a run and sends it a signal; returns whether that came in time."""
    process = start(folder)
    wait_until_begun(process, folder)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    said = process.communicate()[1]
    # After the summary the process only ends, and a signal may be what ends it.
    if process.returncode == 0 or (folder / "summary.json").exists():
        return False
    if number == signal.SIGTERM:
        assert process.returncode == 143, said
        assert f"--resume {folder}" in said, said
    else:
        assert process.returncode == -number, said
    assert len(unfinished(folder)) <= 1, unfinished(folder)
    return True


def kill_all(
    sigkill: int,
    sigterm: int,
    seed: int,
    folder: pathlib.Path,
    report=lambda line: None,
) -> str:
    """Kills runs as often as asked, compares them, and returns what happened in a line."""
    noise = random.Random(seed)
    want, seconds = {}, 0.0
    for name in ("compiled", "whole"):
        process = start(folder / name)
        wait_until_begun(process, folder / name)
        began = time.monotonic()
        said = process.communicate()[1]
        seconds = time.monotonic() - began
        assert process.returncode == 0, said
        assert want in ({}, outcome(folder / name))
        want = outcome(folder / name)
    left = [signal.SIGKILL] * sigkill + [signal.SIGTERM] * sigterm
    noise.shuffle(left)
    total, runs, late = len(left), 0, 0
    while left:
        runs += 1
        killed = folder / f"killed-{runs}"
        for _ in range(min(CHAIN, len(left))):
            before = lines_of(killed)
            if not kill(killed, left[-1], noise.uniform(0, seconds)):
                late += 1
                break
            name = left.pop().name
            # What was reported before stays, up to where the run goes on from.
            kept = before[:-2]
            assert lines_of(killed)[: len(kept)] == kept
            report(f"{name} after {len(lines_of(killed))} lines, {len(left)} left")
        process = start(killed)
        said = process.communicate()[1]
        assert process.returncode == 0, said
        got = outcome(killed)
        differing = [name for name in want if got[name] != want[name]]
        assert not differing, f"{killed} differs in {differing}: {got}"
        assert not unfinished(killed)
    return (
        f"{total} kills of {runs} runs ({sigkill} SIGKILL, {sigterm} SIGTERM): all equal "
        f"to the run left alone; {late} signals came after the end."
    )


def lines_of(folder: pathlib.Path) -> list[str]:
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sigkill", type=int, default=40)
    parser.add_argument("--sigterm", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="only run, here")
    parser.add_argument("--resume", type=pathlib.Path, help="only go on, here")
    asked = parser.parse_args()
    if asked.out or asked.resume:
        with SIGNALS.heeded():
            small_run(Config(out=asked.out, resume=asked.resume))
        return
    with tempfile.TemporaryDirectory() as folder:
        options = asked.sigkill, asked.sigterm, asked.seed, pathlib.Path(folder)
        print(kill_all(*options, report=print))


if __name__ == "__main__":
    main()
