"""The GPU's memory, streams and events: from pycuda for TensorRT, cuda-python for TensorRT-RTX.

The GPU is the first that CUDA shows (`CUDA_VISIBLE_DEVICES` chooses another). Both packages are
used with its primary context, which TensorRT and CUDA's runtime use as well.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.runtime.environment import package_version
from darnet_trt.runtime.tensorrt_packages import TensorRTBackend

__all__ = ["CudaDevice", "Event", "Stream", "open_device"]

Stream = Any
Event = Any

_DOCTOR: Final = "check the GPU and its driver with: darnet-trt doctor"
_ELSEWHERE: Final = "TensorRT plans run on a machine with an NVIDIA GPU"

# Of cudaStreamCreateWithFlags and cuStreamCreate: no waiting for what others do on stream 0.
_NON_BLOCKING: Final = 1
# Of cudaEventCreateWithFlags and cuEventCreate: events only order, which is cheaper.
_DISABLE_TIMING: Final = 2


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


def open_device(backend: TensorRTBackend) -> CudaDevice:
    """The GPU, through the backend's package.

    Raises:
        MissingPackageError: The package is not installed.
        DeviceError: There is no driver, or no GPU.
    """
    return _CudaPython() if backend == "tensorrt-rtx" else _Pycuda()


class _CudaPython:
    """Through `cuda.bindings.runtime`: each function returns an error code, then its values."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ModuleNotFoundError as error:
            raise MissingPackageError("cuda-python", extra="rtx") from error
        self._cuda: Any = runtime
        self._owned: list[Callable[[], object]] = []
        driver = self._call(runtime.cudaDriverGetVersion())
        if driver == 0:
            raise _no_driver()
        if self._call(runtime.cudaGetDeviceCount()) == 0:
            raise _no_gpu()
        attributes = runtime.cudaDeviceAttr
        major, minor = (
            self._call(runtime.cudaDeviceGetAttribute(attribute, 0))
            for attribute in (
                attributes.cudaDevAttrComputeCapabilityMajor,
                attributes.cudaDevAttrComputeCapabilityMinor,
            )
        )
        self.name: str = self._call(runtime.cudaGetDeviceProperties(0)).name.decode()
        self.capability = (int(major), int(minor))
        self.provenance = _provenance("cuda-bindings", driver)

    def _call(self, answer: tuple[Any, ...]) -> Any:
        error, *values = answer
        if error != self._cuda.cudaError_t.cudaSuccess:
            _, said = self._cuda.cudaGetErrorString(error)
            raise DeviceError(f"CUDA failed: {said.decode()}", where="GPU", do=_DOCTOR)
        return values[0] if values else None

    @contextmanager
    def current(self) -> Iterator[None]:
        self._call(self._cuda.cudaSetDevice(0))
        yield

    def allocate(self, size: int) -> int:
        address = int(self._call(self._cuda.cudaMalloc(size)))
        self._owned.append(lambda: self._cuda.cudaFree(address))
        return address

    def pinned(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        count = math.prod(shape)
        flags = self._cuda.cudaHostAllocDefault
        address = int(self._call(self._cuda.cudaHostAlloc(4 * count, flags)))
        self._owned.append(lambda: self._cuda.cudaFreeHost(address))
        block = (ctypes.c_float * count).from_address(address)
        return np.ndarray(shape, np.float32, buffer=memoryview(block))

    def stream(self) -> Stream:
        stream = self._call(self._cuda.cudaStreamCreateWithFlags(_NON_BLOCKING))
        self._owned.append(lambda: self._cuda.cudaStreamDestroy(stream))
        return stream

    def event(self) -> Event:
        event = self._call(self._cuda.cudaEventCreateWithFlags(_DISABLE_TIMING))
        self._owned.append(lambda: self._cuda.cudaEventDestroy(event))
        return event

    def handle(self, stream: Stream) -> int:
        return int(stream)

    def upload(self, target: int, source: npt.NDArray[np.float32], stream: Stream) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        address = source.ctypes.data
        self._call(self._cuda.cudaMemcpyAsync(target, address, source.nbytes, kind, stream))

    def move(self, target: int, source: int, size: int, stream: Stream) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(self._cuda.cudaMemcpyAsync(target, source, size, kind, stream))

    def download(self, target: npt.NDArray[np.float32], source: int, stream: Stream) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        address = target.ctypes.data
        self._call(self._cuda.cudaMemcpyAsync(address, source, target.nbytes, kind, stream))

    def record(self, event: Event, stream: Stream) -> None:
        self._call(self._cuda.cudaEventRecord(event, stream))

    def wait(self, stream: Stream, event: Event) -> None:
        self._call(self._cuda.cudaStreamWaitEvent(stream, event, 0))

    def synchronize(self, event: Event) -> None:
        self._call(self._cuda.cudaEventSynchronize(event))

    def finish(self, stream: Stream) -> None:
        self._call(self._cuda.cudaStreamSynchronize(stream))

    def close(self) -> None:
        if not self._owned:
            return
        with self.current():
            while self._owned:
                self._owned.pop()()  # its error code says nothing new


class _Pycuda:
    """Through `pycuda.driver`, whose functions raise, and whose objects free themselves."""

    def __init__(self) -> None:
        try:
            from pycuda import driver
        except ModuleNotFoundError as error:
            raise MissingPackageError("pycuda", extra="gpu") from error
        except ImportError as error:  # it is linked to the driver's library
            raise _no_driver() from error
        self._cuda: Any = driver
        self._owned: list[Any] = []
        with self._errors():
            driver.init()
            if driver.Device.count() == 0:
                raise _no_gpu()
            gpu = driver.Device(0)
            self._context = _primary_context(gpu)
            self.name: str = gpu.name()
            major, minor = gpu.compute_capability()
            self.provenance = _provenance("pycuda", driver.get_driver_version())
        self.capability = (int(major), int(minor))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise DeviceError(f"CUDA failed: {error}", where="GPU", do=_DOCTOR) from error

    @contextmanager
    def current(self) -> Iterator[None]:
        with self._errors():
            self._context.push()
            try:
                yield
            finally:
                self._cuda.Context.pop()

    def allocate(self, size: int) -> int:
        memory = self._cuda.mem_alloc(size)
        self._owned.append(memory)
        return int(memory)

    def pinned(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        array: npt.NDArray[np.float32] = self._cuda.pagelocked_empty(shape, np.float32)
        self._owned.append(array)
        return array

    def stream(self) -> Stream:
        stream = self._cuda.Stream(_NON_BLOCKING)
        self._owned.append(stream)
        return stream

    def event(self) -> Event:
        event = self._cuda.Event(_DISABLE_TIMING)
        self._owned.append(event)
        return event

    def handle(self, stream: Stream) -> int:
        return int(stream.handle)

    def upload(self, target: int, source: npt.NDArray[np.float32], stream: Stream) -> None:
        self._cuda.memcpy_htod_async(target, source, stream)

    def move(self, target: int, source: int, size: int, stream: Stream) -> None:
        self._cuda.memcpy_dtod_async(target, source, size, stream)

    def download(self, target: npt.NDArray[np.float32], source: int, stream: Stream) -> None:
        self._cuda.memcpy_dtoh_async(target, source, stream)

    def record(self, event: Event, stream: Stream) -> None:
        event.record(stream)

    def wait(self, stream: Stream, event: Event) -> None:
        stream.wait_for_event(event)

    def synchronize(self, event: Event) -> None:
        event.synchronize()

    def finish(self, stream: Stream) -> None:
        stream.synchronize()

    def close(self) -> None:
        if not self._owned:
            return
        with self.current():
            while self._owned:
                self._owned.pop()


@cache
def _primary_context(gpu: Any) -> Any:
    """Kept until the process ends: pycuda gives it back only in the thread that took it."""
    return gpu.retain_primary_context()


def _provenance(package: str, driver: int) -> dict[str, str]:
    return {
        package: package_version(package) or "unknown",
        "driver_cuda": f"{driver // 1000}.{driver % 1000 // 10}",  # 13000 is 13.0
    }


def _no_driver() -> DeviceError:
    return DeviceError("there is no NVIDIA driver here", do=_ELSEWHERE)


def _no_gpu() -> DeviceError:
    return DeviceError("there is no NVIDIA GPU here", do=_ELSEWHERE)
