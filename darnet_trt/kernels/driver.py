"""Compare the CUDA that compiled a library with the CUDA of this machine's driver.

A driver runs what its own version of CUDA and all earlier ones compiled, and within a major version
later ones too. It compiles PTX itself, so that PTX must not be later than the driver ("CUDA
Compatibility", chapters on minor version compatibility and its limits).
"""

from __future__ import annotations

import ctypes
from typing import Final

_DRIVER: Final = "libcuda.so.1"
_LEAST: Final = {11: "R450", 12: "R525", 13: "R580"}
"""First driver of each major version of CUDA on Linux."""


def driver_cuda_version(library: str = _DRIVER) -> int | None:
    """Return the driver's version of CUDA, 13000 for 13.0; None if there is no driver.

    It needs no GPU and starts nothing on one.

    Args:
        library: The driver's library.
    """
    try:
        query = ctypes.CDLL(library).cuDriverGetVersion
    except (OSError, AttributeError):
        return None
    version = ctypes.c_int(0)
    return version.value if query(ctypes.byref(version)) == 0 else None


def driver_refusal(cuda: int, driver: int | None, *, as_ptx: bool = False) -> str | None:
    """Return why a driver cannot run a library; None if it can, or if there is no driver.

    Args:
        cuda: `Library.cuda`.
        driver: From `driver_cuda_version`.
        as_ptx: The GPU runs the library's PTX, because the library has no code for it.
    """
    needed = cuda if as_ptx else cuda // 1000 * 1000
    if driver is None or driver >= needed:
        return None
    compiled = f"it was compiled with CUDA {version_text(cuda)}"
    found = f"the driver here is for CUDA {version_text(driver)}"
    if driver // 1000 == cuda // 1000:
        return f"{compiled} and has only PTX for this GPU; {found}"
    least = _LEAST.get(cuda // 1000, "a newer one")
    return f"{compiled}, which needs the driver {least} or later; {found}"


def version_text(version: int) -> str:
    """Return 13010 as "13.1"."""
    return f"{version // 1000}.{version % 1000 // 10}"
