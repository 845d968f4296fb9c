"""The part of `run.py` that compiles the kernels, for this GPU alone; the others use its result."""

from __future__ import annotations

import sys

from benchmarks.gpu.measuring import measure
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import Library, architecture
from darnet_trt.kernels.resources import resources


def build(on: str) -> None:
    """Compile the library; fail if a kernel spills registers."""
    architectures = None
    if on == "cuda":
        import torch

        architectures = [architecture(torch.cuda.get_device_capability())]
    path = build_library(on, architectures, log=print)  # type: ignore[arg-type]
    print(f"{path}: {Library(path).target}, {path.stat().st_size:,} bytes")
    if on == "cuda":
        found = resources(path)
        registers = max(kernel.registers for kernel in found)
        if spilling := [kernel.kernel for kernel in found if kernel.stack_bytes]:
            sys.exit(f"registers are spilled: {', '.join(spilling)}")
        print(f"{len(found)} kernels, at most {registers} registers, none spilled")


if __name__ == "__main__":
    measure({"build": build})
