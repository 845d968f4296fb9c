"""The architectures that nvcc compiles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from darnet_trt.kernels.toolchain import find_toolchain


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        # PTX of 9.0, for GPUs after 9.0 without machine code.
        (None, "75-real;90-real;120-real;90-virtual"),
        (["sm_120", "sm_89"], "89-real;120-real;120-virtual"),
    ],
)
def test_machine_code_and_ptx(
    asked: list[str] | None, codes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvcc = tmp_path / "nvcc"
    known = "sm_75 sm_89 sm_90 sm_90a sm_100 sm_120" if asked else "sm_75 sm_90 sm_90a sm_120"
    nvcc.write_text(
        f'#!/bin/sh\n[ "$1" = --list-gpu-code ] && echo {known} || echo release 13.0, V13.0.88\n'
    )
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(nvcc))
    assert find_toolchain("cuda", asked).options[-1] == f"-DCMAKE_CUDA_ARCHITECTURES={codes}"
