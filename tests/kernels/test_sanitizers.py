"""Faults put into the kernels' source are found, by the sanitizers or in the results."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from darnet_trt.kernels.build import SOURCES

COMPILER = os.environ.get("CXX") or "g++"


RIGHT = "1 0\n"  # the mean, the counter
BREAKS = {
    "right": None,
    # One row too many is read …
    "reads beyond x": ("if (u * rows < left) packs", "if (u * rows <= left) packs"),
    # … a sum is written beside the partial sums …
    "writes beyond the sums": (
        "first_channel + self]\n            = total",
        "first_channel + self + 1]\n            = total",
    ),
    # … a block uses more shared memory than it was launched with …
    "beyond shared memory": ("shared[(warp * lanes", "shared[(4 * warp * lanes"),
    # … or an access is not aligned.
    "misaligned": ("packs[u].load(from +", "packs[u].load(from + 1 +"),
}


def pool_once(folder: Path, change: tuple[str, str] | None, *flags: str) -> tuple[Path, Path]:
    """Compile pool_once.cpp with a changed pool.cuh; return the program and that file."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"no C++ compiler: {COMPILER}")
    sources = folder / "cuda"
    shutil.copytree(SOURCES, sources)
    pool = sources / "pool.cuh"
    if change is not None:
        text = pool.read_text()
        assert change[0] in text
        pool.write_text(text.replace(*change))
    program = folder / "pool_once"
    source = Path(__file__).with_name("pool_once.cpp")
    options = ("-std=c++17", "-Wno-unknown-pragmas", f"-I{sources}", *flags)
    subprocess.run([COMPILER, *options, source, "-o", program], check=True)
    return program, pool


def run(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", BREAKS)
def test_the_sanitizers_find_a_fault(name: str, tmp_path: Path) -> None:
    change = BREAKS[name]
    flags = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program, pool = pool_once(tmp_path, change, *flags)
    done = run(program, UBSAN_OPTIONS="print_stacktrace=1")
    if change is None:
        assert (done.returncode, done.stdout) == (0, RIGHT), done.stderr
        return
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr or "misaligned address" in done.stderr
    line = 1 + pool.read_text()[: pool.read_text().index(change[1])].count("\n")
    assert any(f"pool.cuh:{at}" in done.stderr for at in (line, line + 1))  # or what it guards


SUMMED = "total;\n    }\n    __syncthreads();"
STAGED = "parts, self);\n        __syncthreads();"
BARRIERS = {
    "before the warps' sums are added": (SUMMED, "total;\n    }"),
    "before the means are read": (STAGED, "parts, self);"),
    "that some threads miss": (
        SUMMED,
        "total;\n    }\n    if (channel < c) __syncthreads();",
    ),
}


@pytest.mark.parametrize("name", BARRIERS)
def test_a_missing_barrier_changes_the_result(name: str, tmp_path: Path) -> None:
    program, _ = pool_once(tmp_path, BARRIERS[name])
    done = [run(program, DARNET_FIBER_ORDER=order) for order in ("", "reverse")]
    if name == "that some threads miss":
        assert all("a barrier that not all of its threads reach" in d.stderr for d in done)
    else:
        assert {d.stdout for d in done} != {RIGHT}


def test_another_block_is_the_last_in_another_order(tmp_path: Path) -> None:
    for folder in ("right", "by number"):
        (tmp_path / folder).mkdir()
    program, _ = pool_once(tmp_path / "right", None)
    for order in ("", "reverse", "1", "2"):
        assert run(program, DARNET_BLOCK_ORDER=order).stdout == RIGHT
    by_number = ("return *arrived == blocks - 1;", "return blockIdx.x == gridDim.x - 1;")
    program, _ = pool_once(tmp_path / "by number", by_number)
    assert run(program).stdout == RIGHT
    assert run(program, DARNET_BLOCK_ORDER="reverse").stdout != RIGHT


def test_a_counter_that_is_not_zero_again_is_seen(tmp_path: Path) -> None:
    program, _ = pool_once(
        tmp_path, ("atomicInc(counter, blocks - 1)", "atomicInc(counter, blocks)")
    )
    assert run(program).stdout == "1 2\n"
