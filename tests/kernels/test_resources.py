"""The kernels as nvcc compiles them: none spills, and three blocks fit on an SM."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import COMPILER_LOG, build_library
from darnet_trt.kernels.resources import Resources, markdown, resources
from darnet_trt.kernels.toolchain import find_nvcc, find_toolchain

# The oldest and the newest; `darnet-trt plugin build --report` checks all of them.
ARCHITECTURES = ("sm_75", "sm_120")
# 65,536 registers an SM, given to warps in steps of 8 a thread: three blocks of 256 threads.
MOST_REGISTERS = 80


PAGE = Path(__file__).parents[2] / "docs" / "kernel-resources.md"


@pytest.fixture(scope="module")
def found(pytestconfig: pytest.Config) -> list[Resources]:
    """The kernels as this machine's nvcc compiles them."""
    try:
        find_nvcc()
    except BuildError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        # Not into the user's cache, where engines take the newest library.
        patch.setenv("XDG_CACHE_HOME", str(pytestconfig.cache.mkdir("plugin")))
        return resources(build_library("cuda", ARCHITECTURES))


@pytest.mark.slow  # nvcc compiles for a minute
def test_no_kernel_spills_or_takes_more_than_a_third_of_an_sm(found: list[Resources]) -> None:
    assert {r.architecture for r in found} == set(ARCHITECTURES)
    kernels = {r.kernel for r in found}
    assert len(found) == len(kernels) * len(ARCHITECTURES)
    # Any type of weights; x, residual and y of it or int8; packs or single elements, and packs of
    # another size where all are int8.
    assert sum(k.startswith("apply<") for k in kernels) == 3 * (2**3 * 2 + 1)
    # x of the weights' type, as packs or single elements, or int8, which has packs of another size.
    assert sum(k.startswith("pool<") for k in kernels) == 3 * (2 + 3)
    for r in found:
        assert r.spilled_bytes == r.stack_bytes == 0, r
        assert r.registers <= MOST_REGISTERS, r


@pytest.mark.slow
def test_the_page_agrees_with_the_compiler(found: list[Resources]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    nvcc = find_toolchain("cuda").version.partition(" and ")[0]
    if f"{nvcc}," not in page:
        pytest.skip(f"the page is of another compiler than {nvcc}")
    if shutil.which("c++filt") is None:
        pytest.skip("no c++filt, and the page has its names")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    columns = [lines[0].index(architecture) for architecture in ARCHITECTURES]
    written = {row[0].strip("`"): [row[column] for column in columns] for row in lines[2:]}
    compiled: dict[str, list[str]] = {}
    for r in found:  # architectures in ascending order
        compiled.setdefault(r.kernel, []).append(str(r.registers))
    assert written == compiled, "make it anew with: darnet-trt plugin build --report"


LOG = """\
[2/3] Building CUDA object
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN6darnet4poolI6__halfLi8EEEvPKT_Pfiii' for 'sm_120'
ptxas info    : Function properties for _ZN6darnet4poolI6__halfLi8EEEvPKT_Pfiii
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 48 registers, used 1 barriers
ptxas info    : Compiling entry function '_ZN6darnet4poolI6__halfLi8EEEvPKT_Pfiii' for 'sm_89'
ptxas info    : Function properties for _ZN6darnet4poolI6__halfLi8EEEvPKT_Pfiii
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 384 bytes cmem[0]
"""


def test_the_log_of_ptxas_is_read(tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    with pytest.raises(BuildError, match="no kernels"):
        resources(library)
    (tmp_path / COMPILER_LOG).write_text(LOG)
    found = resources(library)
    name = found[0].kernel  # readable if there is a c++filt
    assert found == [Resources("sm_89", name, 40, 16, 20), Resources("sm_120", name, 48, 0, 0)]
    assert markdown(found).splitlines() == [
        "| kernel | sm_89 | sm_120 |",
        "| --- | ---: | ---: |",
        f"| `{name}` | 40 (spills 20 bytes) | 48 |",
    ]
