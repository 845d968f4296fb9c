"""The driver's CUDA against a library's; a small library stands in for the driver."""

import os
import shutil
import subprocess
import sys

import pytest

from darnet_trt.kernels.driver import driver_cuda_version, driver_refusal
from tests.export.tensorrt.cuda_library import cuda_library


@pytest.fixture
def driver(tmp_path):
    """Compile a library that answers cuDriverGetVersion, the only function that is asked."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")

    def compiled(body):
        (tmp_path / "driver.cpp").write_text(
            f'extern "C" int cuDriverGetVersion(int* version) {{ {body} }}'
        )
        library = tmp_path / "libcuda.so.1"
        words = [compiler, "-shared", "-fPIC", tmp_path / "driver.cpp", "-o", library]
        subprocess.run(words, check=True)
        return str(library)

    return compiled


def test_the_driver_tells_its_cuda(driver):
    assert driver_cuda_version(driver("*version = 12080; return 0;")) == 12080


def test_a_driver_that_fails_is_none(driver, tmp_path):
    assert driver_cuda_version(driver("return 999;")) is None
    assert driver_cuda_version(str(tmp_path / "absent.so")) is None


def test_a_library_that_is_no_driver_is_none(on_cpu):
    assert driver_cuda_version(str(on_cpu.path)) is None


@pytest.mark.parametrize(
    ("cuda", "driver", "as_ptx", "fits"),
    [
        (13000, 13000, True, True),
        (13010, 13000, False, True),
        (13010, 13000, True, False),
        (13000, 12090, False, False),
        (12060, 13000, True, True),
        (13000, None, False, True),
        (0, 11040, True, True),  # the CPU build
    ],
)
def test_which_driver_runs_which_library(cuda, driver, as_ptx, fits):
    refusal = driver_refusal(cuda, driver, as_ptx=as_ptx)
    assert (refusal is None) is fits
    if refusal:
        for version in (cuda, driver):
            assert f"CUDA {version // 1000}.{version % 1000 // 10}" in refusal


def test_plugin_check_names_both_versions(driver, cpu_library, tmp_path):
    library = cuda_library(cpu_library, tmp_path / "cache")  # compiled with CUDA 13.0
    driver("*version = 12080; return 0;")
    answers = {}
    for name, path in (("old", tmp_path), ("none", tmp_path / "absent")):
        answers[name] = subprocess.run(
            [sys.executable, "-m", "darnet_trt", "plugin", "check", library],
            env={**os.environ, "LD_LIBRARY_PATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
    (line,) = [a for a in answers["old"].stdout.splitlines() if "cannot run it" in a]
    assert "CUDA 13.0" in line
    assert "R580" in line
    assert "CUDA 12.8" in line
    assert answers["old"].returncode in (1, 2)
    assert "cannot run it" not in answers["none"].stdout


def test_the_cpu_build_was_compiled_without_cuda(on_cpu):
    assert on_cpu.cuda == 0
