"""The GPU's memory, streams and events, as pycuda and cuda-python each provide them.

The GPU is the first that CUDA shows (`CUDA_VISIBLE_DEVICES` chooses another). Both packages are
used with its primary context, which TensorRT and CUDA's runtime use as well.
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
_ELSEWHERE: Final = "TensorRT plans run on a machine with an NVIDIA GPU"

NON_BLOCKING: Final = 1
"""Of cudaStreamCreateWithFlags and cuStreamCreate: no waiting for what others do on stream 0."""
DISABLE_TIMING: Final = 2
"""Of cudaEventCreateWithFlags and cuEventCreate: events only order, which is cheaper."""


class CudaDevice(Protocol):
    """One GPU, and everything that was taken from it.

    All calls but `current` and `close` are made within `current`. Copies and events are put into
    a stream and return at once.

    Attributes:
        name: Product name.
        capability: Compute capability, (8, 9).
        provenance: Package, and the CUDA version that the driver is for.
    """

    name: str
    capability: tuple[int, int]
    provenance: dict[str, str]

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU this thread's."""
        ...

    def allocate(self, size: int) -> int:
        """Address of that many bytes of the GPU's memory."""
        ...

    def pinned(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Memory of the host that the GPU copies from and to by itself."""
        ...

    def stream(self) -> Stream:
        """A queue of work."""
        ...

    def event(self) -> Event:
        """A mark in a stream."""
        ...

    def handle(self, stream: Stream) -> int:
        """The stream as TensorRT takes it."""
        ...

    def upload(self, target: int, source: npt.NDArray[np.float32], stream: Stream) -> None:
        """Copy a contiguous piece of pinned memory to an address."""
        ...

    def move(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy bytes within the GPU."""
        ...

    def download(self, target: npt.NDArray[np.float32], source: int, stream: Stream) -> None:
        """Fill a contiguous piece of pinned memory from an address."""
        ...

    def record(self, event: Event, stream: Stream) -> None:
        """Set the mark after what is in the stream now."""
        ...

    def wait(self, stream: Stream, event: Event) -> None:
        """Hold up the stream until the mark is reached."""
        ...

    def synchronize(self, event: Event) -> None:
        """Hold up this thread until the mark is reached."""
        ...

    def finish(self, stream: Stream) -> None:
        """Hold up this thread until the stream is empty."""
        ...

    def close(self) -> None:
        """Give everything back, last things first."""
        ...


def provenance(package: str, driver: int) -> dict[str, str]:
    """The package's version, and CUDA's as the driver tells it: 13000 is 13.0."""
    return {
        package: package_version(package) or "unknown",
        "driver_cuda": f"{driver // 1000}.{driver % 1000 // 10}",
    }


def cuda_failed(said: object) -> DeviceError:
    """The error for one of CUDA's."""
    return DeviceError(f"CUDA failed: {said}", where="GPU", do=_DOCTOR)


def no_driver() -> DeviceError:
    """The error for a machine without a driver."""
    return DeviceError("there is no NVIDIA driver here", do=_ELSEWHERE)


def no_gpu() -> DeviceError:
    """The error for a machine that has a driver alone."""
    return DeviceError("there is no NVIDIA GPU here", do=_ELSEWHERE)
