"""The interface to a GPU's memory, streams and events, over pycuda or cuda-python.

The GPU is CUDA's first (`CUDA_VISIBLE_DEVICES` chooses another). Both packages use its primary
context, as TensorRT and CUDA's runtime do.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import DeviceError
from darnet_trt.machine.hardware import package_version

__all__ = [
    "DISABLE_TIMING",
    "NON_BLOCKING",
    "CudaDevice",
    "Event",
    "Stream",
    "cuda_failed",
    "no_driver",
    "no_gpu",
    "provenance",
]

Stream = Any
Event = Any

_DOCTOR: Final = "check the GPU and its driver with: darnet-trt doctor"
_ELSEWHERE: Final = "run TensorRT plans on a machine with an NVIDIA GPU"

NON_BLOCKING: Final = 1
"""Flag of cudaStreamCreateWithFlags and cuStreamCreate: do not wait for stream 0."""
DISABLE_TIMING: Final = 2
"""Flag of cudaEventCreateWithFlags and cuEventCreate: events without a time, which are cheaper."""


class CudaDevice(Protocol):
    """One GPU, and the memory, streams and events allocated on it.

    Make all calls but `current` and `close` within `current`. Copies and events are queued in a
    stream and return at once.

    Attributes:
        name: Product name.
        capability: Compute capability, (8, 9).
        provenance: Version of the package, and the driver's CUDA version.
    """

    name: str
    capability: tuple[int, int]
    provenance: dict[str, str]

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU the current one of this thread."""
        ...

    def allocate(self, size: int) -> int:
        """Allocate GPU memory and return its address."""
        ...

    def pinned(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Allocate pinned host memory, which the GPU can copy from and to asynchronously."""
        ...

    def stream(self) -> Stream:
        """Create a stream."""
        ...

    def event(self) -> Event:
        """Create an event."""
        ...

    def handle(self, stream: Stream) -> int:
        """Return the stream's handle for TensorRT."""
        ...

    def upload(self, target: int, source: npt.NDArray[np.float32], stream: Stream) -> None:
        """Copy contiguous pinned memory to an address on the GPU."""
        ...

    def move(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy bytes within the GPU."""
        ...

    def download(self, target: npt.NDArray[np.float32], source: int, stream: Stream) -> None:
        """Copy from an address on the GPU to contiguous pinned memory."""
        ...

    def record(self, event: Event, stream: Stream) -> None:
        """Record the event behind the work now in the stream."""
        ...

    def wait(self, stream: Stream, event: Event) -> None:
        """Make the stream wait for the event."""
        ...

    def synchronize(self, event: Event) -> None:
        """Make this thread wait for the event."""
        ...

    def finish(self, stream: Stream) -> None:
        """Make this thread wait until the stream is empty."""
        ...

    def close(self) -> None:
        """Free everything, the last allocation first."""
        ...


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
