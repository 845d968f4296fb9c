"""The shared part of the two ways to a GPU's memory, streams and events: pycuda and cuda-python.

The GPU is CUDA's first (`CUDA_VISIBLE_DEVICES` chooses another). Both packages use its primary
context, as TensorRT and CUDA's runtime do.
"""

from __future__ import annotations

from typing import Any, Final

from darnet_trt.errors import DeviceError
from darnet_trt.machine.hardware import package_version

Stream = Any
Event = Any

_DOCTOR: Final = "check the GPU and its driver with: darnet-trt doctor"
_ELSEWHERE: Final = "run TensorRT plans on a machine with an NVIDIA GPU"

NON_BLOCKING: Final = 1
"""Flag of cudaStreamCreateWithFlags and cuStreamCreate: do not wait for stream 0."""


def provenance(package: str, driver: int) -> dict[str, str]:
    """Return the versions of the package and of the driver's CUDA (13000 is 13.0)."""
    return {
        package: package_version(package) or "unknown",
        "driver_cuda": f"{driver // 1000}.{driver % 1000 // 10}",
    }


def cuda_failed(said: object) -> DeviceError:
    """Return the error for a failed call of CUDA."""
    return DeviceError(f"CUDA failed: {said}", where="GPU", do=_DOCTOR)


def no_driver() -> DeviceError:
    """Return the error for a machine without a driver."""
    return DeviceError("there is no NVIDIA driver here", do=_ELSEWHERE)


def no_gpu() -> DeviceError:
    """Return the error for a machine with a driver and no GPU."""
    return DeviceError("there is no NVIDIA GPU here", do=_ELSEWHERE)
