"""A day of a scanner room leaves the service as it was: memory, threads, descriptors."""

import subprocess
import sys

import pytest

from tests.short import SHORT


@pytest.mark.slow
def test_a_day_leaves_nothing_behind(tiny):
    program = [sys.executable, "-m", "benchmarks.cpu.service.soak", tiny]
    # A minute is too short for the allocators to come to rest.
    form = ["--hours", "12", "--minutes", "1", "--limit", "0.15"] if SHORT else []
    ended = subprocess.run(
        [*program, *form],
        capture_output=True, text=True, timeout=1700,
    )  # fmt: skip
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-6000:]
