"""A plugin library that says it is for CUDA, made in two seconds and without nvcc.

It is the real plugin over stubs in place of the kernels: TensorRT-RTX registers it and builds plans
with it, and calls no kernel while it builds.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from darnet_trt.kernels.build import LIBRARY, SOURCES

STUBS = """
#include "attention.h"
const char* darnet_attention_target(void) { return "cuda sm_89"; }
int darnet_attention_toolkit(void) { return 13000; }
int darnet_attention_check(const DarnetAttention*, char*, size_t) { return 0; }
void* darnet_attention_new_counters(char*, size_t) { return nullptr; }
void darnet_attention_delete_counters(void*) {}
size_t darnet_attention_workspace(const DarnetAttention*) { return 1024; }
void darnet_attention_cost(const DarnetAttention*, int, DarnetCost*) {}
int darnet_attention_launch(const DarnetAttention*, const DarnetTensors*, void*, char*, size_t) {
    return 1;
}
int darnet_attention_launch_phase(
    const DarnetAttention*, const DarnetTensors*, int, void*, char*, size_t) { return 1; }
"""


def cuda_library(cpu_library: Path, cache: Path) -> Path:
    """Compile it into the cache's folder of the kernels, beside where `cpu_library` would be."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    folder = cache / cpu_library.parent.name.replace("cpu-", "cuda-", 1)
    folder.mkdir(parents=True)
    (folder / "stubs.cpp").write_text(STUBS)
    flags = ("-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{SOURCES}")
    library = folder / LIBRARY
    subprocess.run(
        [compiler, *flags, SOURCES / "plugin.cpp", folder / "stubs.cpp", "-o", library], check=True
    )
    return library
