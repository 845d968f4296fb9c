"""The parts of `run.py`, the most important first: each is a command that runs on its own.

In a command, `{folder}` stands for a folder of the part's own, and `{seconds}` for its time limit
less what a step that has begun may take.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests.xml"  # in a part's folder: pytest's report
MEASURED = "attention.json"  # in a part's folder: what benchmarks.attention.run measured
FOUND_ERRORS = "9"  # exit code of compute-sanitizer; pytest's end at 5


@dataclass(frozen=True)
class Part:
    """One command.

    Attributes:
        name: What `--only` calls it; several parts may share a name.
        command: Its words.
        weight: Its share of the time left, against those of the parts after it.
        variant: Tells parts of one name apart.
        environment: Variables that it needs.
        codes: Statuses of exit codes that only this part has.
        unsupported: What it prints on a machine that cannot run it.
    """

    name: str
    command: tuple[str, ...]
    weight: int
    variant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[int, str] = field(default_factory=dict)
    unsupported: str = ""

    @property
    def title(self) -> str:
        """Return its name in the report."""
        return f"{self.name}: {self.variant}" if self.variant else self.name


def module(name: str, *words: str) -> tuple[str, ...]:
    """Return the command of a module of the benchmarks."""
    return (sys.executable, "-m", f"benchmarks.{name}", *words)


def gpu_tests(file: str, chosen: str = "") -> tuple[str, ...]:
    """Return the command of a file's tests marked `gpu`, without the project's pytest settings.

    These, and conftest.py, need packages that a GPU machine may not have.
    """
    return (
        sys.executable, "-m", "pytest", "-v", "-rs", "-m", "gpu", "-k", chosen,
        "-c", os.devnull, "--rootdir", str(ROOT), "--noconftest", "--import-mode=importlib",
        "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestUnknownMarkWarning",
        f"--junitxml={{folder}}/{TESTS}", str(Path("tests", file)),
    )  # fmt: skip


def sanitizer(name: str, tool: str, weight: int, chosen: str) -> Part:
    """Return the kernels' tests under one tool of compute-sanitizer."""
    return Part(
        name,
        (
            "compute-sanitizer", "--tool", tool, "--error-exitcode", FOUND_ERRORS,
            "--print-limit", "5", *gpu_tests(KERNELS, chosen),
        ),
        weight,
        tool,
        # Torch would take one large block of memory, in which nothing is out of bounds; the
        # tests would put guards beside each buffer.
        {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "DARNET_NO_GUARDS": "1"},
        unsupported="Device not supported",
    )  # fmt: skip


KERNELS = "kernels/test_on_a_device.py"
MEMORY = "runtime/engines/cuda/test_on_a_device.py"
DECODING = "scan/dicom/test_gpu.py"
PLANS = "runtime/engines/tensorrt/test_on_a_gpu.py"
SOME_CASES = "(combination and float16) or (test_shapes and both)"
ALL_CASES = "combination or test_shapes"

# On H100 and H200, which TensorRT-RTX refuses, all before the plans runs.
PARTS = (
    Part("build", module("gpu.build", "build"), 120),
    Part("kernels", gpu_tests(KERNELS, "not operator and not beyond"), 130),
    # Alone, because it is skipped where the GPU has too little memory.
    Part("kernels", gpu_tests(KERNELS, "beyond"), 30, "more than 2³¹ elements"),
    Part("plugin", gpu_tests("kernels/test_plugin_host.py"), 50),
    Part("operator", gpu_tests(KERNELS, "operator"), 60),
    sanitizer("sanitizers", "memcheck", 45, SOME_CASES),
    sanitizer("sanitizers", "racecheck", 45, SOME_CASES),
    Part(
        "benchmark",
        module("attention.run", "--limit", "{seconds}", "-o", f"{{folder}}/{MEASURED}"),
        300,
        codes={3: "missed", 4: "incomplete"},
    ),
    Part("network", module("gpu.networks", "eager"), 40, "eager"),
    Part("training", module("gpu.networks", "training"), 40),
    Part("onnxruntime", gpu_tests("runtime/engines/onnxruntime/test_cuda.py"), 30, "tests"),
    Part("onnxruntime", module("gpu.networks", "onnxruntime"), 40, "the paper's network"),
    Part("memory", gpu_tests(MEMORY, "cuda-python"), 30, "cuda-python"),
    Part("memory", gpu_tests(MEMORY, "pycuda"), 30, "pycuda"),
    Part("decoding", gpu_tests(DECODING), 25, "JPEG 2000"),
    Part("decoding", module("gpu.decoding"), 25, "times"),
    Part("plans", gpu_tests(PLANS, "tensorrt-rtx"), 30, "TensorRT-RTX"),
    Part("plans", gpu_tests(PLANS, "not tensorrt-rtx and not is_kept"), 30, "TensorRT"),
    Part("tensorrt", module("gpu.tensorrt", "off"), 30, "standard operators"),
    Part("tensorrt", module("gpu.tensorrt", "on"), 30, "plugin"),
    Part("tensorrt", module("gpu.tensorrt", "build"), 30, "darnet-trt build"),
    # The compiler takes long, and may not be done in its time.
    Part("network", module("gpu.networks", "compiled"), 90, "compiled"),
    *(
        sanitizer("sanitizers-all", tool, 100, ALL_CASES)
        for tool in ("memcheck", "racecheck", "initcheck", "synccheck")
    ),
)
NOT_BY_DEFAULT = ("sanitizers-all",)
