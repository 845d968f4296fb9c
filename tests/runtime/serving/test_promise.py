"""Every slice that was acknowledged is in exactly one standing result, whatever is killed when."""

import subprocess
import sys

import pytest

from tests.short import SHORT

KILLS = [
    pytest.param(seed, ["--short"] if SHORT else [], id=str(seed))
    for seed in range(1 if SHORT else 2)
]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "size"), KILLS)
def test_kills_lose_nothing_and_double_nothing(tiny, tmp_path, seed, size):
    program = [sys.executable, "-m", "benchmarks.cpu.service.promise", tiny, "--seed", str(seed)]
    ended = subprocess.run(
        [*program, "--folder", tmp_path / "run", *size],
        capture_output=True,
        text=True,
        timeout=1700,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
