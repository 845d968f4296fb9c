"""What nvcc makes of the kernels: nothing spills, and three blocks fit an SM."""

from __future__ import annotations

from pathlib import Path

import pytest

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import COMPILER_LOG, build_library
from darnet_trt.kernels.resources import Resources, markdown, resources
from darnet_trt.kernels.toolchain import find_nvcc

# The oldest and the newest; `darnet-trt plugin build --report` looks at all of them.
ARCHITECTURES = ("sm_75", "sm_120")
# 65,536 registers an SM, given to warps in steps of 8 a thread: three blocks of 256 threads.
MOST_REGISTERS = 80


def test_no_kernel_spills_or_takes_more_than_a_third_of_an_sm(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not into the user's cache: there the newest library is the one that engines get.
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytestconfig.cache.mkdir("plugin")))
    try:
        find_nvcc()
    except BuildError as error:
        pytest.skip(str(error))
    found = resources(build_library("cuda", ARCHITECTURES))
    assert {r.architecture for r in found} == set(ARCHITECTURES)
    kernels = {r.kernel for r in found}
    assert len(found) == len(kernels) * len(ARCHITECTURES)
    # Any type of weights; x, residual and y of it or int8; packs or single elements.
    assert sum(k.startswith("apply<") for k in kernels) == 3 * 2**3 * 2
    assert sum(k.startswith("gate<") for k in kernels) == 3
    assert sum(k.startswith("pool<") for k in kernels) == 4 * 2
    for r in found:
        assert r.spilled_bytes == r.stack_bytes == 0, r
        assert r.registers <= MOST_REGISTERS, r


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


def test_ptxas_is_understood(tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    with pytest.raises(BuildError, match="expected what ptxas says of each kernel, found nothing"):
        resources(library)
    (tmp_path / COMPILER_LOG).write_text(LOG)
    found = resources(library)
    name = found[0].kernel  # as c++filt has it, where there is one
    assert found == [Resources("sm_89", name, 40, 16, 20), Resources("sm_120", name, 48, 0, 0)]
    assert markdown(found).splitlines() == [
        "| kernel | sm_89 | sm_120 |",
        "| --- | ---: | ---: |",
        f"| `{name}` | 40 (spills 20 bytes) | 48 |",
    ]
