"""A run folder holds whole files, for one process, and its run goes on after a signal."""

import errno
import os
import signal
import subprocess
import sys

import jax
import pytest
from rich.console import Console

import warp_jax as wj
from experiments._config import Config
from experiments._folder import Lock, sweep, write
from experiments._log import Metrics, Reporter
from experiments._run import Run
from experiments._signals import SIGNALS

from .kills import kill_all, outcome, ROOT, small_run, unfinished


@pytest.fixture(autouse=True)
def broadcasting():
    """Optimisers broadcast on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def go(folder, **options):
    """Runs or goes on, in this process, as the command line does."""
    begun = (folder / "config.json").exists()
    where = {"resume": folder} if begun else {"out": folder, "steps": 20}
    with SIGNALS.heeded():
        return small_run(Config(**where), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    with jax.numpy_rank_promotion("allow"):
        go(folder)
    return outcome(folder)


def at_call(number, act):
    """Returns a function that acts at one of its calls."""
    calls = iter(range(10**6))
    return lambda: act() if next(calls) == number else None


# The last of 41 figures is the test's, beyond all training.
@pytest.mark.parametrize("call", (0, 13, 30, 40))
def test_a_run_that_is_asked_to_end_says_how_to_go_on(call, whole, tmp_path, capfd):
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    disturb = at_call(call, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        go(folder, disturb=disturb)
    assert caught.value.code == 143
    assert f"Go on with `python -m experiments small --resume {folder}`" in (
        capfd.readouterr().err
    )
    assert not unfinished(folder) and signal.getsignal(signal.SIGTERM) == before
    go(folder)
    assert outcome(folder) == whole


def test_a_second_signal_ends_a_training_at_once(whole, tmp_path):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the second one should end it")

    with pytest.raises(SystemExit) as caught:
        go(tmp_path / "run", disturb=at_call(5, twice))
    assert caught.value.code in (130, 143)
    go(tmp_path / "run")
    assert outcome(tmp_path / "run") == whole


def test_what_is_broken_in_a_run_is_made_anew(whole, tmp_path, capfd):
    folder = tmp_path / "run"
    go(folder)
    (folder / "models" / "mlp.json").write_text('{"model": "ML')
    model = folder / "models" / "mlp.eqx"
    go(folder)
    assert outcome(folder) == whole
    model.write_bytes(model.read_bytes()[:-3])
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"model": "MLP", "st')
    (folder / "models" / ".mlp.eqx.abc.new").write_bytes(b"cut")
    (folder / ".summary.json.new").write_text("{")
    go(folder)
    assert outcome(folder) == whole and not unfinished(folder)
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("MLP is made anew from its checkpoints") == 2
    assert "metrics.jsonl: 1 lines that are cut off are dropped" in said


def test_a_training_prints_a_few_lines_where_there_is_no_terminal(capfd):
    for steps, every in ((20, 1), (1000, 50), (3, 1), (1, 1)):
        with Reporter(Console(force_terminal=False), "MLP", steps) as reporter:
            for step in range(every, steps + 1, every):
                reporter.show(wj.Progress(step, steps, 0.5, 1.0, 0.25, 0.25, 1.0))
        said = [line for line in capfd.readouterr().err.splitlines() if line]
        assert len(said) == min(4, steps) and f"step {steps}/{steps}" in said[-1]


@pytest.mark.parametrize(
    "text, lines",
    (
        (b"", []),
        (b'{"a": 1}\n{"a": 2}\n', [1, 2]),
        (b'{"a": 1}\n{"a"', [1]),
        (b'{"a": 1}\n{"a": 2}', [1, 2]),
        (b'{"a": 1}\n\xff\x00\x00\n{"a": 2}\n', [1, 2]),
        (b'{"a": 1}\n3\n', [1]),
        (b"\x00" * 50, []),
    ),
)
def test_metrics_that_are_torn_are_mended(text, lines, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text)
    assert [line["a"] for line in Metrics(path).lines] == lines
    # Once more it has nothing to mend.
    mended = path.read_bytes()
    assert [line["a"] for line in Metrics(path).lines] == lines
    assert path.read_bytes() == mended


@pytest.fixture
def another(tmp_path):
    """Another process that has the folder."""
    code = (
        "import pathlib, sys, time\n"
        "from experiments._folder import Lock\n"
        f"lock = Lock(pathlib.Path({str(tmp_path)!r}))\n"
        "print('has it', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "has it\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGTERM))
def test_a_folder_is_for_one_process_as_long_as_it_lives(number, another, tmp_path):
    with pytest.raises(ValueError) as caught:
        Lock(tmp_path)
    for part in (f"`{tmp_path}` is in use", f"{another.pid} on", "`--out`"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="is in use by another process"):
        Run("small", "sines", Config(out=tmp_path))
    # What refuses leaves the folder as it was.
    assert not (tmp_path / "config.json").exists()
    another.send_signal(number)
    another.wait()
    # Twice in one process is no matter, as in a notebook after an error.
    first, second = Lock(tmp_path), Lock(tmp_path)
    second.release()
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-c", TAKE, tmp_path], cwd=ROOT, check=True)
    first.release()
    subprocess.run([sys.executable, "-c", TAKE, tmp_path], cwd=ROOT, check=True)


TAKE = """
import pathlib, sys
from experiments._folder import Lock
try:
    Lock(pathlib.Path(sys.argv[1]))
except ValueError:
    sys.exit(1)
"""


def test_of_two_that_begin_at_once_one_goes_on(tmp_path, monkeypatch):
    # As if the other had begun and ended after this one had looked.
    monkeypatch.setattr(
        "experiments._run.resolve", lambda _, config: (config, tmp_path)
    )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a run already"):
        Run("small", "sines", Config(out=tmp_path))
    assert (tmp_path / "config.json").read_text() == "{}"


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for part in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, part, full)
            with pytest.raises(OSError) as caught:
                write(path, b"x" * 12345)
        assert caught.value.errno == errno.ENOSPC
        for part in ("could not write 12,345 bytes", "No space left", str(path)):
            assert part in str(caught.value)
        assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]


def test_only_what_is_unfinished_is_swept(tmp_path):
    (tmp_path / "models").mkdir()
    for name in (
        "config.json",
        ".config.json.new",
        "models/a.new",
        "models/.a.eqx.x.new",
    ):
        (tmp_path / name).touch()
    sweep(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert left == {"config.json", "models", "models/a.new"}


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path):
    assert "3 kills" in kill_all(2, 1, 0, tmp_path)
