"""Trainings and models outlive stops, full disks and broken checkpoints."""

import contextlib
import errno
import json
import os
import shutil
import subprocess

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import warp_jax as wj

from .helpers import assert_close, assert_same
from .test_resume import assert_same_training, EVERY, Killed, Model, STEPS, train


@pytest.fixture(scope="module")
def undisturbed():
    return train()


@pytest.fixture
def broken_off(tmp_path):
    """A folder with checkpoints of steps 6 and 9, of a training that was killed."""
    with pytest.raises(Killed):
        train(tmp_path, kill_at=12)
    assert names(tmp_path) == ["6", "9"]
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def cut_off(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_notes(folder):
    shutil.rmtree(folder / "notes")


def with_other_notes(folder):
    path = folder / "notes" / "metadata"
    notes = json.loads(path.read_text())
    path.write_text(json.dumps(notes | {"step": notes["step"] - 1}))


def with_other_arrays(folder):
    """Leaves a checkpoint that reads well, and whose arrays are those of another step."""
    shutil.rmtree(folder / "state")
    shutil.copytree(folder.parent / "6" / "state", folder / "state")


def emptied(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


BREAKS = (cut_off, without_notes, with_other_notes, with_other_arrays, emptied)


@pytest.mark.parametrize("damage", BREAKS)
def test_a_broken_checkpoint_gives_way_to_the_one_before(
    damage, broken_off, undisturbed
):
    damage(broken_off / "9")
    said = r"9 cannot be read: .* goes on from step 6"
    with pytest.warns(RuntimeWarning, match=said):
        got = train(broken_off, model=Model(seed=9), resume=True)
    assert_same_training(got, undisturbed)
    # The step that was broken has been written anew.
    assert names(broken_off) == ["12", "9"]
    assert_same_training(train(broken_off, resume=True), undisturbed)


def test_checkpoints_that_are_all_broken_are_told_and_kept(broken_off):
    for name in names(broken_off):
        cut_off(broken_off / name)
    with pytest.raises(ValueError, match=r"cannot read any.*step 9.*Remove the folder"):
        train(broken_off, resume=True)
    assert names(broken_off) == ["6", "9"]


def test_what_a_kill_left_of_a_checkpoint_goes(broken_off, undisturbed):
    (broken_off / "12.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    assert_same_training(train(broken_off, resume=True), undisturbed)
    assert names(broken_off) == ["12", "9"]


@pytest.mark.parametrize("at", (0, 1, 3, 7, 11))
def test_a_training_stops_when_told_and_goes_on_from_there(at, tmp_path, undisturbed):
    reports = []

    def report(progress):
        reports.append(progress._replace(seconds=0))

    asked = iter(range(STEPS))
    with pytest.raises(wj.Stopped, match=r"`fit.*`resume=True` goes on") as caught:
        train(tmp_path, stop=lambda: next(asked) == at, report=report)
    assert caught.value.step == at
    # Of no steps there is none.
    assert (str(at) in names(tmp_path)) == (at > 0)
    options = {"resume": True, "stop": lambda: False, "report": report}
    assert_same_training(train(tmp_path, **options), undisturbed)
    # What is reported is that of a training that never stopped.
    assert [progress.step for progress in reports] == [*range(EVERY, STEPS + 1, EVERY)]
    losses = undisturbed[1].loss.reshape(-1, EVERY).mean(axis=1)
    assert_close(jnp.array([progress.loss for progress in reports]), losses)


def test_a_stop_keeps_only_what_is_finite(tmp_path):
    def batches(step):
        return jnp.full((6, 2), np.nan if step == 4 else 1.0)

    asked = iter(range(9))
    with pytest.raises(FloatingPointError, match="step 4"):
        wj.fit(
            {"w": jnp.ones(2)},
            lambda model, batch, key: jnp.sum(model["w"][None] * batch),
            batches,
            optax.sgd(0.1),
            steps=9,
            every=3,
            key=jr.key(0),
            checkpoint=tmp_path,
            stop=lambda: next(asked) == 5,
            report=None,
        )
    assert names(tmp_path) == ["3"]


@contextlib.contextmanager
def small_disk(folder, kib):
    """Mounts a disk of that size, or skips the test."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Leaves no room on a small disk."""
    with contextlib.suppress(OSError), open(folder / "ballast", "wb") as file:
        while True:
            os.write(file.fileno(), b"\1" * 4096)


def big(folder, **options):
    """Trains numbers of 200 KiB."""
    model = {"w": jr.normal(jr.key(0), (50_000,))}
    loss = lambda model, batch, key: jnp.sum(model["w"] ** 2) * batch  # noqa: E731
    options = {"every": 1, "steps": 4, "report": None, "key": jr.key(0)} | options
    folder.mkdir(exist_ok=True)
    batches = lambda step: jnp.ones(())  # noqa: E731
    return wj.fit(
        model, loss, batches, optax.sgd(0.1), checkpoint=folder, resume=True, **options
    )


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    want = big(tmp_path / "whole")
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", 4096) as disk:

        def report(progress):
            if progress.step == 3:
                fill(disk)

        with pytest.raises(OSError) as caught:
            big(disk / "run", report=report)
        assert caught.value.errno == errno.ENOSPC
        for part in ("fit(checkpoint=...)", "step 3", "MiB", str(disk / "run")):
            assert part in str(caught.value)
        # The one before is there, and nothing of the one that failed.
        assert names(disk / "run") == ["1", "2"]
        with pytest.raises(OSError, match=r"save\(path, model\).*0.191 MiB.*No space"):
            wj.save(disk / "model", want[0])
        assert names(disk) == ["ballast", "run"]
        (disk / "ballast").unlink()
        assert_same(big(disk / "run"), want)


def test_an_error_of_the_system_in_a_checkpoint_is_told(tmp_path, monkeypatch):
    want = big(tmp_path / "whole")

    def full(self, step, **options):
        (tmp_path / "run" / f"{step}.orbax-checkpoint-tmp").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    def report(progress):
        if progress.step == 3:
            patch.setattr(ocp.CheckpointManager, "save", full)

    with monkeypatch.context() as patch:
        with pytest.raises(OSError, match=r"step 3, about 0.382 MiB: No space left"):
            big(tmp_path / "run", report=report)
    assert names(tmp_path / "run") == ["1", "2"]
    assert_same(big(tmp_path / "run"), want)
