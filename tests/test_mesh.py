"""A training shared by several devices is that of one."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision, transition", (("f32", "dense"), ("x64", "low_rank"))
)
def test_eight_devices_train_as_one(precision, transition):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.meshes", precision, transition],
        env=os.environ | flags | {"JAX_PLATFORMS": "cpu"},
        cwd=__file__.rsplit("/", 2)[0],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("all equal")
