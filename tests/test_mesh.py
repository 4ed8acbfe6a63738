"""A training shared by several devices is that of one."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest


ROOT = pathlib.Path(__file__).parents[1]
# Of no use to a test: how well XLA likes what it was given.
QUIET = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}


def started(devices: int | None, *arguments) -> subprocess.Popen:
    """Starts a module in a process that has so many devices, or those that are there."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    flags = {} if devices is None else flags
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env=os.environ | flags | QUIET,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(*processes: subprocess.Popen, seconds: int = 300) -> list[str]:
    """Returns what processes wrote, all of which must end well, and soon; none is left."""
    try:
        told = [process.communicate(timeout=seconds)[0] for process in processes]
    except subprocess.TimeoutExpired as late:
        text = (late.output or b"").decode()
        pytest.fail(f"hung for {seconds} s and was killed: {late.cmd}\n{text[-3000:]}")
    finally:
        for process in processes:
            with process:
                process.kill()
    for process, text in zip(processes, told, strict=True):
        assert process.returncode == 0, text[-3000:]
    return told


def in_eight(*parts: str, module: str = "tests.meshes"):
    (told,) = finished(started(8, module, *parts))
    assert told.strip().endswith("all equal")


def test_eight_devices_refuse_what_they_cannot_share():
    in_eight("refusals")


@pytest.mark.slow
@pytest.mark.parametrize("way", ("data", "tensor", "sequence"))
@pytest.mark.parametrize("precision", ("f32", "x64"))
def test_eight_devices_train_as_one(way, precision):
    in_eight(f"{way}-{precision}")


@pytest.mark.slow
def test_time_on_eight_devices_is_the_recurrence():
    in_eight("rolls-x64")


@pytest.mark.slow
def test_every_law_holds_with_time_on_several_devices():
    in_eight("laws-x64")


@pytest.mark.slow
def test_what_travels_is_what_the_page_of_devices_says():
    in_eight(module="tests.traffic")


@pytest.mark.slow
def test_what_eight_devices_wrote_is_read_on_two_and_on_one(tmp_path):
    through, halves = tmp_path / "through", tmp_path / "halves"
    for folder, steps in (through, 20), (halves, 10):
        folder.mkdir()
        finished(started(8, "tests.restores", folder, steps))
    goal = np.load(through / "8.npz")
    for devices in (2, 1):
        folder = shutil.copytree(halves, tmp_path / f"on {devices}")
        finished(started(devices, "tests.restores", folder, 20))
        got = np.load(folder / f"{devices}.npz")
        assert set(got) == set(goal)
        for name in goal:
            np.testing.assert_allclose(
                got[name], goal[name], 1e-10, 1e-10, err_msg=name
            )


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folders = [tmp_path / name for name in ("two", "one")]
    for folder in folders:
        folder.mkdir()
    two, one = folders
    finished(*(started(2, "tests.processes", i, 2, port, two) for i in range(2)))
    finished(started(4, "tests.processes", 0, 1, port, one))
    first, second, alone = (
        np.load(path) for path in (two / "0.npz", two / "1.npz", one / "0.npz")
    )
    assert set(first) == set(second) == set(alone)
    for name in alone:
        np.testing.assert_array_equal(first[name], second[name], name)
        np.testing.assert_allclose(first[name], alone[name], 1e-10, 1e-10, err_msg=name)
    # A training is resumed from a checkpoint that both wrote.
    for name in (name for name in first if name.startswith("resumed")):
        goal = first[name.replace("resumed", "tensor")]
        np.testing.assert_array_equal(first[name], goal, name)
    for i in range(2):
        model, batch, placed, saved = json.loads((two / f"{i}.json").read_text())
        assert "needs the same model, key and carry in all 2 processes" in model
        assert "needs the same batch in all 2 processes" in batch
        assert "an array of shape (16, 8, 2) on 1 other ones" in placed
        assert "got ['xs'] split over several" in saved
