"""Watch an NVIDIA GPU through NVML, the library of its driver (nvidia-ml-py).

NVML's API reference names the functions; an old driver or another device may lack any of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import psutil

from darnet_trt.runtime.bench.signs.conditions import Clock, GpuConditions
from darnet_trt.runtime.bench.signs.readable import Value

_PROCESSES_EVERY: Final = 8
"""Samples between two lists of processes, which change seldom."""

# An idle GPU and clocks that a person has set are no slowdown.
_REASONS: Final = {
    "power limit": "nvmlClocksEventReasonSwPowerCap",
    "hardware slowdown": "nvmlClocksEventReasonHwSlowdown",
    "synchronised with another GPU": "nvmlClocksEventReasonSyncBoost",
    "heat (driver)": "nvmlClocksEventReasonSwThermalSlowdown",
    "heat (hardware)": "nvmlClocksEventReasonHwThermalSlowdown",
    "power brake": "nvmlClocksEventReasonHwPowerBrakeSlowdown",
}


class GpuWatch:
    """Watches the GPU that CUDA uses first.

    Args:
        nvml: The module `pynvml`, initialised.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._device = _first_device(nvml)
        self._samples = 0
        self._clocks_mhz: list[float] = []
        self._reasons: Counter[str] = Counter()
        self._reasons_read = 0
        self._hottest_c: float | None = None
        self._peak_bytes: int | None = None
        self._others: int | None = None
        self._start_j = self.joules()

    def look(self) -> None:
        """Take a sample."""
        nvml = self._nvml
        clock = self._read(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM)
        self._clocks_mhz += [] if clock is None else [clock]
        reasons = self._read(nvml.nvmlDeviceGetCurrentClocksEventReasons)
        if reasons is None:  # drivers before 535 know it by this name
            reasons = self._read(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        if reasons is not None:
            self._reasons_read += 1
            self._reasons.update(n for n, bit in _REASONS.items() if reasons & getattr(nvml, bit))
        heat = self._read(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU)
        self._hottest_c = _larger(self._hottest_c, heat)
        memory = self._read(nvml.nvmlDeviceGetMemoryInfo)
        self._peak_bytes = _larger(self._peak_bytes, None if memory is None else memory.used)
        if self._samples % _PROCESSES_EVERY == 0:
            self._others = _larger(self._others, self._other_processes())
        self._samples += 1

    def joules(self) -> float | None:
        """Return what the board has used since the driver was loaded; None: not readable here."""
        used_mj = self._read(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if used_mj is None else used_mj / 1000

    def conditions(self) -> GpuConditions:
        """Summarise the samples."""
        start_j, end_j = self._start_j, self.joules()
        return GpuConditions(
            name=str(self._read(self._nvml.nvmlDeviceGetName) or "unknown"),
            clock=Clock.of(self._clocks_mhz),
            slowed_percent={n: 100 * c / self._reasons_read for n, c in self._reasons.items()}
            if self._reasons_read
            else None,
            hottest_c=self._hottest_c,
            other_processes=self._others,
            peak_memory_mb=None if self._peak_bytes is None else self._peak_bytes / 1e6,
            energy_j=None if start_j is None or end_j is None else end_j - start_j,
        )

    def _other_processes(self) -> int | None:
        """Count processes that compute and are not ours; None where ours cannot be told.

        In a container NVML gives the numbers that processes have outside.
        """
        listed = self._read(self._nvml.nvmlDeviceGetComputeRunningProcesses)
        if listed is None:
            return None
        found, me = {process.pid for process in listed}, os.getpid()
        if found == {me}:  # listing our children takes some ms
            return 0
        ours = {me, *(child.pid for child in psutil.Process(me).children(recursive=True))}
        return len(found - ours) if found & ours else None

    def _read(self, function: Callable[..., Value], *arguments: object) -> Value | None:
        try:
            return function(self._device, *arguments)
        except self._nvml.NVMLError:
            return None


def open_gpu() -> tuple[GpuWatch | None, str | None]:
    """Return a watch of the GPU, or None and what to do about it."""
    try:
        import pynvml
    except ImportError:
        return None, "the GPU: pip install 'darnet-trt[nvml]'"
    try:
        pynvml.nvmlInit()
        return GpuWatch(pynvml), None
    except pynvml.NVMLError as error:
        return None, f"the GPU: NVML says {error}"


def _first_device(nvml: Any) -> Any:
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    return nvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdigit() else 0)


def _larger(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else max(one, other)
