"""Describe this machine: CPU, memory, GPUs and installed packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from darnet_trt.errors import MissingPackageError
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.processes import run_child

_SMI_FIELDS = "name,driver_version,memory.total,compute_cap"
_SMI_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        name: Product name.
        cores: Physical cores that this process may use.
        memory_gib: Installed memory.
        features: Which of avx2, avx512f, avx512_vnni, avx_vnni, avx512_bf16, amx_bf16, amx_int8 it
            has.
    """

    name: str
    cores: int
    memory_gib: float
    features: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as the driver reports it.

    Attributes:
        name: Product name.
        driver: Driver version.
        memory_mib: Device memory; None where the driver does not report it, as on a Jetson, whose
            GPU shares the host's memory.
        compute_capability: "8.9".
    """

    name: str
    driver: str
    memory_mib: int | None
    compute_capability: str


_FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
)


_INT8_DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8")


def cpu() -> Cpu:
    """Describe the processor, from /proc/cpuinfo where it exists."""
    info: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().partition("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            info[key.strip()] = value.strip()
    flags = info.get("flags", "").split()
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return Cpu(
        name=info.get("model name") or platform.processor() or platform.machine(),
        cores=min(physical, usable_cpus()),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        features=tuple(feature for feature in _FEATURES if feature in flags),
    )


def sums_of_int8_overflow() -> bool:
    """Return whether this CPU adds 8-bit products in 16 bits, as x86 does without VNNI or AMX.

    The sum of two products of 255 · 127 does not fit, so quantized convolutions are clipped.
    """
    features = cpu().features
    return "avx2" in features and not any(name in features for name in _INT8_DOT_PRODUCTS)


@cache
def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that `nvidia-smi` lists; empty where it is absent or fails.

    nvidia-smi runs once in the life of this process.
    """
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ()
    query = [smi, f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        smi_ended = run_child(query, timeout_s=_SMI_TIMEOUT_S)
    except OSError:
        return ()
    listed = smi_ended.stdout if smi_ended.code == 0 else ""
    rows = (line.split(", ") for line in listed.splitlines())
    return tuple(
        Gpu(name, driver, int(memory) if memory.isdigit() else None, capability)
        for name, driver, memory, capability in (row for row in rows if len(row) == 4)
    )


def package_version(package: str) -> str | None:
    """Return the version of an installed distribution without importing it; None if absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def producer(*packages: str) -> dict[str, str]:
    """Return package → version, for the manifest: what built an artifact."""
    return {package: package_version(package) or "unknown" for package in packages}


def require_packages(*packages: str, extra: str) -> None:
    """Check that packages are installed, before long work begins.

    Args:
        packages: Import names.
        extra: The extra of darnet-trt that installs them.

    Raises:
        MissingPackageError: The first of them that is missing.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(package, extra=extra)
