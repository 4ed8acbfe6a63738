"""Options and fixtures of the whole suite."""

import itertools
import os

import jax
import jax.random as jr
import jaxtyping
import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--typecheck",
        action="store_true",
        help="check every call in warp_jax against its annotations, with beartype",
    )


def pytest_configure(config):
    # Nothing may broadcast by accident.
    jax.config.update("jax_numpy_rank_promotion", "raise")
    # The suite compiles much and runs each piece once: half of its time is saved.
    jax.config.update("jax_disable_most_optimizations", True)
    # XLA ends the process at a flag it does not know, so only for the versions tried.
    if jax.__version_info__[:2] == (0, 10):
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
    if config.getoption("--typecheck"):
        # The hook rewrites modules as they are imported, so it must come first.
        jaxtyping.install_import_hook("warp_jax", "beartype.beartype")


def pytest_collection_modifyitems(config, items):
    if config.getoption("-m"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


_finished = itertools.count(1)
# Linux lets a process map 65 530 pieces of memory, and XLA ends it where that is over.
CROWDED = 20_000


def _mapped() -> int:
    """Returns how many pieces of memory this process maps, 0 where that is not told."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            return sum(1 for _ in maps)
    except OSError:
        return 0


@pytest.fixture(autouse=True)
def forget_compiled():
    """Drops compiled code now and then: a process can map only so much of it."""
    yield
    count = next(_finished)
    if count % 100 == 0 or (count % 5 == 0 and _mapped() > CROWDED):
        jax.clear_caches()


@pytest.fixture
def getkey():
    """Gives a new random key at each call, the same ones in every run."""
    count = itertools.count()
    return lambda: jr.fold_in(jr.key(2506), next(count))


@pytest.fixture(params=["x64", "f32"])
def precision(request):
    """Runs a test in double and in single precision."""
    # Imported late: --typecheck must act before warp_jax is there.
    from .helpers import x64

    with x64(request.param == "x64"):
        yield


@pytest.fixture
def double():
    """Runs a test in double precision alone, where the logic is at stake."""
    from .helpers import x64

    with x64(True):
        yield


@pytest.fixture
def unchecked(request):
    """Skips a test under --typecheck."""
    if request.config.getoption("--typecheck"):
        pytest.skip("the annotations' own errors come first")
