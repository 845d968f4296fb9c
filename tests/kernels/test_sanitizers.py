"""AddressSanitizer and UBSan over the kernels' source, and proof that they see its faults."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import SOURCES, build_library

COMPILER = os.environ.get("CXX") or "g++"
TESTS = Path(__file__).parent
# Python itself leaves memory to the system; the kernels allocate none.
ASAN_OPTIONS = "detect_leaks=0"


@pytest.fixture(scope="module")
def sanitized() -> Path:
    try:
        return build_library("cpu", sanitize=True)
    except BuildError as error:
        if error.what.startswith("no "):
            pytest.skip(str(error))
        raise


def test_odd_shapes_touch_nothing_that_is_not_theirs(sanitized: Path) -> None:
    runtime = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    done = subprocess.run(
        [sys.executable, str(TESTS / "sanitized_run.py"), str(sanitized)],
        env={**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": ASAN_OPTIONS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout == "35 problems\n"


BREAKS = {
    "right": None,
    # One row too many is read …
    "reads beyond x": ("if (row + u * step < last)", "if (row + u * step <= last)"),
    # … a sum is written beside the partial sums …
    "writes beyond the sums": ("out[i] = shared[", "out[i + 1] = shared["),
    # … a block uses more shared memory than it was launched with …
    "beyond shared memory": (
        "shared[i * threads + self] = sum[i]",
        "shared[(i + 1) * threads + self] = sum[i]",
    ),
    # … or an access is not aligned.
    "misaligned": ("packs[u].load(slice +", "packs[u].load(slice + 1 +"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_sanitizers_see_a_kernels_fault(name: str, tmp_path: Path) -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"no C++ compiler: {COMPILER}")
    sources = tmp_path / "cuda"
    shutil.copytree(SOURCES, sources)
    pool = sources / "pool.cuh"
    text = pool.read_text()
    if (change := BREAKS[name]) is not None:
        assert change[0] in text
        text = text.replace(*change)
        pool.write_text(text)
    program = tmp_path / "overrun"
    flags = "-std=c++17 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
    warnings = "-Wno-unknown-pragmas"
    subprocess.run(
        [COMPILER, *flags.split(), warnings, f"-I{sources}", TESTS / "overrun.cpp", "-o", program],
        check=True,
    )
    done = subprocess.run(
        [program],
        env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if change is None:
        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
        return
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr or "misaligned address" in done.stderr
    line = 1 + pool.read_text()[: pool.read_text().index(change[1])].count("\n")
    assert any(f"pool.cuh:{at}" in done.stderr for at in (line, line + 1))  # or what it guards
