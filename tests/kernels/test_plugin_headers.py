"""Our header of TensorRT's interface against NVIDIA's: the plugin's machine code is the same.

Object code that is equal byte for byte has the same sizes, offsets, order of virtual functions and
names. TENSORRT_INCLUDE_DIR names NVIDIA's include folder.
"""

import os
import re
import shutil
import subprocess

import pytest

from darnet_trt.kernels.build import SOURCES


@pytest.mark.skipif(
    not (os.environ.get("TENSORRT_INCLUDE_DIR") and shutil.which("g++") and shutil.which("nvcc")),
    reason="TENSORRT_INCLUDE_DIR names no TensorRT headers, or there is no g++ or no nvcc",
)
def test_our_header_compiles_to_the_same_machine_code(tmp_path):
    nvcc = subprocess.run(  # says where CUDA's headers are, which TensorRT's include
        ["nvcc", "--dryrun", "-E", "-x", "cu", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    )
    folders = [os.environ["TENSORRT_INCLUDE_DIR"], *re.findall(r'"-I([^"]+)"', nvcc.stderr)]
    system = [word for folder in folders for word in ("-isystem", folder)]
    flags = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-c", SOURCES / "plugin.cpp")
    made = []
    for options in ((), ("-DDARNET_TENSORRT_HEADERS", *system)):
        subprocess.run(["g++", *flags, *options, "-o", tmp_path / "plugin.o"], check=True)
        made.append((tmp_path / "plugin.o").read_bytes())
    assert made[0] == made[1]
