"""The steps of `gpu.py`: the project's tests that a GPU can run, the benchmark, the networks.

`gpu.py` runs each as `python -m benchmarks.gpu.steps STEP ON`, in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.gpu import networks as gpu_networks
from benchmarks.gpu import tensorrt as gpu_tensorrt
from benchmarks.gpu.step_process import (
    INCOMPLETE,
    MISSED,
    ROOT,
    all_parts,
    folder,
    installed,
    need,
    pytest_words,
    run,
    run_tests,
    seconds_left,
    skip,
)

LAST_ROW_S = 30  # that the benchmark leaves for the row that it has begun
FOUND_ERRORS = 9  # exit code of compute-sanitizer where it found any
TIMED_OUT = 124  # of timeout(1)


def build(on: str) -> None:
    """The library, for this GPU alone."""
    from darnet_trt.kernels.build import build_library
    from darnet_trt.kernels.library import Library, architecture

    architectures = None
    if on == "cuda":
        import torch

        architectures = [architecture(torch.cuda.get_device_capability())]
    path = build_library(on, architectures, log=print)  # type: ignore[arg-type]
    print(f"{path}: {Library(path).target}, {path.stat().st_size:,} bytes")
    if on == "cuda":
        from darnet_trt.kernels.resources import resources

        found = resources(path)
        spilling = [r.kernel for r in found if r.stack_bytes]
        registers = max(r.registers for r in found)
        print(
            f"{len(found)} kernels, at most {registers} registers, spilling: {spilling or 'none'}"
        )
        if spilling:
            sys.exit("registers are spilled")


def kernels(on: str) -> None:
    """The kernels against the reference: types, shapes, streams, threads, CUDA graphs."""
    need("pytest", "ml_dtypes", "torch")

    def of(chosen: str) -> Callable[[], None]:
        words = pytest_words("kernels/test_on_a_device.py", "-k", f"{on} and {chosen}")
        return partial(run_tests, on, words)

    # Of its own, because many GPUs have not the memory for it.
    all_parts({"all": of("not operator and not beyond"), "large batch": of("beyond")})


def operator(on: str) -> None:
    """The torch operator: forward, backward, torch.compile, autocast, CUDA graphs."""
    need("pytest", "ml_dtypes", "torch")
    run_tests(on, pytest_words("kernels/test_on_a_device.py", "-k", f"{on} and operator"))


def memory(on: str) -> None:
    """The runner's memory, streams, events and graphs, through cuda-python and pycuda."""
    need("pytest", "psutil")
    tests = partial(pytest_words, "runtime/engines/cuda/test_on_a_device.py", "-k")
    if on == "cpu":
        run_tests(on, tests("host"))
        return

    def through(package: str, module: str) -> None:
        need(module)
        # pycuda has no graphs: those of its streams are captured by cuda-python.
        graphs = "" if installed("cuda.bindings") else " and not graph"
        run_tests(on, tests(package + graphs))

    all_parts(
        {
            "cuda-python": partial(through, "cuda-python", "cuda.bindings"),
            "pycuda": partial(through, "pycuda", "pycuda"),
        }
    )


def plugin(on: str) -> None:
    """The plugin's whole life on device pointers, with no TensorRT."""
    need("pytest", "ml_dtypes", "onnx", "torch")
    if on == "cpu":
        run(sys.executable, "-m", "pytest", "-q", "tests/kernels/test_plugin_host.py", "-k", "life")
        return
    from darnet_trt.kernels.toolchain import find_nvcc

    path = os.pathsep.join((str(Path(find_nvcc()).parent), os.environ["PATH"]))
    run_tests(on, pytest_words("kernels/test_plugin_host.py", "-m", "gpu"), PATH=path)


def plans(on: str) -> None:
    """The runner on plans: batches, graphs, two workers, what is left after it."""
    need("pytest", "psutil", "onnx", "onnxruntime", "pydantic")
    if on == "cpu":
        run(sys.executable, "-m", "pytest", "-q", "tests/runtime/engines/tensorrt/test_runner.py")
        return

    def of(package: str, memory_package: str, chosen: str) -> None:
        need(package, memory_package)
        tests = pytest_words("runtime/engines/tensorrt/test_on_a_gpu.py", "-k", chosen)
        run_tests(on, tests)

    all_parts(
        {
            "tensorrt-rtx": partial(of, "tensorrt_rtx", "cuda.bindings", "tensorrt-rtx"),
            "tensorrt": partial(of, "tensorrt", "pycuda", "not tensorrt-rtx"),
        }
    )


def benchmark(on: str) -> None:
    """benchmarks/attention/run.py: bandwidth, rivals, targets."""
    need("torch")
    words = [sys.executable, "benchmarks/attention/run.py", "-o", str(folder() / "attention.json")]
    if on == "cpu":
        words += ["--batch", "1"]
    else:
        words += ["--limit", f"{max(seconds_left() - LAST_ROW_S, 1):.0f}"]
    code = subprocess.run(words, cwd=ROOT, check=False).returncode
    sys.exit({3: MISSED, 4: INCOMPLETE}.get(code, code))


def sanitizers(on: str, checks: Iterable[str], chosen: str) -> None:
    """compute-sanitizer over the kernels of odd shapes and types."""
    need("pytest", "ml_dtypes", "torch")
    if on == "cpu":
        run_tests(on, pytest_words("kernels/test_sanitizers.py", "-k", "odd"))
        return
    tool = sanitizer()
    tests = pytest_words("kernels/test_on_a_device.py", "-k", chosen)
    waiting = list(checks)

    def under(check: str) -> None:
        seconds = max(seconds_left() - 5, 1) / len(waiting)
        waiting.remove(check)
        stopped = ["timeout", "-k", "2", f"{seconds:.0f}"]
        options = ["--tool", check, "--error-exitcode", str(FOUND_ERRORS), "--print-limit", "5"]
        meanings = {
            FOUND_ERRORS: "errors were found",
            TIMED_OUT: f"not done in {seconds:.0f} s",
        }
        # Else torch takes one large block, in which nothing is out of bounds, and the tests put
        # guards beside what they lend.
        alone = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "DARNET_NO_GUARDS": "1"}
        run_tests(on, [*stopped, tool, *options, *tests], meanings, **alone)

    all_parts({check: partial(under, check) for check in tuple(waiting)})


def sanitizer() -> str:
    """compute-sanitizer; skips where it is not there or does not work on this machine."""
    from darnet_trt.kernels.toolchain import find_nvcc

    beside = Path(find_nvcc()).with_name("compute-sanitizer")
    tool = shutil.which("compute-sanitizer") or shutil.which(beside)
    if tool is None:
        skip("no compute-sanitizer beside nvcc or on the PATH")
    sound = "import torch; torch.ones(8, device='cuda').add_(1).cpu()"
    words = ["timeout", "-k", "2", f"{max(seconds_left() / 2, 1):.0f}", tool, sys.executable]
    done = subprocess.run([*words, "-c", sound], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        skip(f"compute-sanitizer does not run here: {said[-1] if said else done.returncode}")
    return tool


@dataclass(frozen=True)
class Step:
    """What a step does, and its part of the time.

    Attributes:
        does: Takes "cuda" or "cpu"; ends the process where it does not pass.
        share: Of the time that is left, against the shares of the steps after it.
        by_default: Run without being named.
    """

    does: Callable[[str], None]
    share: float
    by_default: bool = True


_REDUCED = "cuda and ((combination and float16) or (test_shapes and both))"
_ALL = "cuda and (combination or test_shapes)"
STEPS = {
    # In the order of what matters most; the time that a step does not take goes to those after it.
    "build": Step(build, 120),
    "kernels": Step(kernels, 120),
    "memory": Step(memory, 20),
    "operator": Step(operator, 60),
    "benchmark": Step(benchmark, 300),
    "plugin": Step(plugin, 40),
    "network": Step(gpu_networks.network, 90),
    "tensorrt": Step(gpu_tensorrt.tensorrt, 60),
    "plans": Step(plans, 40),
    "training": Step(gpu_networks.training, 40),
    "onnxruntime": Step(gpu_networks.onnxruntime, 20),
    "sanitizers": Step(partial(sanitizers, checks=("memcheck", "racecheck"), chosen=_REDUCED), 90),
    "sanitizers-all": Step(
        partial(
            sanitizers, checks=("memcheck", "racecheck", "initcheck", "synccheck"), chosen=_ALL
        ),
        400,
        by_default=False,
    ),
}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    STEPS[sys.argv[1]].does(sys.argv[2])
