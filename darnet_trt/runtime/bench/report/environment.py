"""Describe the machine of a measurement."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from darnet_trt import __version__
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import as_text
from darnet_trt.machine.hardware import cpu, gpus, package_version
from darnet_trt.machine.memory import free_memory
from darnet_trt.runtime.bench.report.schema import Environment

_PACKAGES: Final = (
    "openvino", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "pydicom", "SimpleITK",
)  # fmt: skip
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Before:
    """What is read before a measurement, and would be changed by it.

    Attributes:
        load_1min: Load average.
        memory_free_mb: Memory that this process may take.
    """

    load_1min: float
    memory_free_mb: float

    @classmethod
    def now(cls) -> Before:
        """Read it, and count the CPU's times from here."""
        psutil.cpu_times_percent()
        return cls(round(os.getloadavg()[0], 2), free_memory() / 1e6)


def environment(before: Before, *, command: str, threads: int | None) -> Environment:
    """Describe the machine after the measurement.

    Args:
        before: From before it.
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
        governor=_GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else None,
        memory_free_mb=before.memory_free_mb,
        gpus=gpus(),
        threads=threads,
        load_1min=before.load_1min,
        steal_percent=getattr(psutil.cpu_times_percent(), "steal", 0.0),  # only Linux counts it
        packages={p: v for p in _PACKAGES if (v := package_version(p)) is not None},
    )
