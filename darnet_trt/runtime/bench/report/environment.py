"""Describe the machine of a measurement."""

from __future__ import annotations

import platform
from typing import Final

from darnet_trt import __version__
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import as_text
from darnet_trt.machine.hardware import cpu, gpus, package_version
from darnet_trt.runtime.bench.report.schema import Environment

_PACKAGES: Final = (
    "openvino", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "pydicom", "SimpleITK",
)  # fmt: skip


def environment(memory_free_mb: float, *, command: str, threads: int | None) -> Environment:
    """Describe the machine after the measurement.

    Args:
        memory_free_mb: From before it.
        command: The command line.
        threads: As in `Environment`.
    """
    return Environment(
        darnet_trt=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        command=as_text(command),
        cpu=cpu(),
        cpus_allowed=usable_cpus(),
        memory_free_mb=memory_free_mb,
        gpus=gpus(),
        threads=threads,
        packages={p: v for p in _PACKAGES if (v := package_version(p)) is not None},
    )
