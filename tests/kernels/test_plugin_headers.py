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


@pytest.fixture(scope="module")
def compiler():
    found = shutil.which("g++")
    if found is None:
        pytest.skip("no g++")
    return found


@pytest.fixture(scope="module")
def headers():
    """TensorRT's folder and CUDA's, which it includes; nvcc says where that is."""
    folder = os.environ.get("TENSORRT_INCLUDE_DIR")
    if not folder:
        pytest.skip("TENSORRT_INCLUDE_DIR names no TensorRT headers")
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on the PATH, whose headers TensorRT's need")
    said = subprocess.run(
        [nvcc, "--dryrun", "-E", "-x", "cu", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [folder, *re.findall(r'"-I([^"]+)"', said.stderr)]


def machine_code(compiler, folder, name, *options):
    made = folder / f"{name}.o"
    flags = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", *options)
    subprocess.run([compiler, *flags, "-c", SOURCES / "plugin.cpp", "-o", made], check=True)
    return made.read_bytes()


def test_our_header_compiles_to_the_same_machine_code(compiler, headers, tmp_path):
    system = [word for folder in headers for word in ("-isystem", folder)]
    theirs = machine_code(compiler, tmp_path, "theirs", "-DDARNET_TENSORRT_HEADERS", *system)
    assert machine_code(compiler, tmp_path, "ours") == theirs
