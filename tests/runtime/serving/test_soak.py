"""A day of a scanner room leaves the service as it was: memory, threads, descriptors."""

import subprocess
import sys

import pytest

from tests.archive.runs import SHORT


@pytest.mark.slow
def test_a_day_leaves_nothing_behind(tiny):
    program = [sys.executable, "-m", "benchmarks.cpu.service.soak", tiny]
    ended = subprocess.run(
        [*program, "--minutes", "1" if SHORT else "10"],
        capture_output=True, text=True, timeout=1700,
    )  # fmt: skip
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-6000:]
