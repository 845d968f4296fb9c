"""Use the GPU through cuda-python."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.engines.cuda.device import (
    NON_BLOCKING,
    Event,
    Stream,
    cuda_failed,
    no_driver,
    no_gpu,
    provenance,
)


def answered(runtime: Any, answer: tuple[Any, ...]) -> Any:
    """Return the value after the error code in an answer of `cuda.bindings.runtime`; None if none.

    Raises:
        DeviceError: The code is an error.
    """
    error, *values = answer
    if error != runtime.cudaError_t.cudaSuccess:
        _, said = runtime.cudaGetErrorString(error)
        raise cuda_failed(said.decode())
    return values[0] if values else None


class CudaPythonDevice:
    """One GPU, and the memory, streams and events allocated on it, over `cuda.bindings.runtime`.

    Make all calls but `current` and `close` within `current`. Copies and events are queued in a
    stream and return at once. For the errors see `engines.tensorrt.gpu.open_device`.

    Args:
        extra: Of darnet-trt, which installs cuda-python; for the error where it is missing.

    Attributes:
        name: Product name.
        capability: Compute capability, (8, 9).
        provenance: Version of the package, and the driver's CUDA version.
    """

    def __init__(self, *, extra: str) -> None:
        try:
            from cuda.bindings import runtime
        except ModuleNotFoundError as error:
            raise MissingPackageError("cuda-python", extra=extra) from error
        self._cuda: Any = runtime
        self._owned: list[Callable[[], object]] = []
        driver = self._call(runtime.cudaDriverGetVersion())
        if driver == 0:
            raise no_driver()
        if self._call(runtime.cudaGetDeviceCount()) == 0:
            raise no_gpu()
        gpu = self._call(runtime.cudaGetDeviceProperties(0))
        self.name: str = gpu.name.decode()
        self.capability = (int(gpu.major), int(gpu.minor))
        self.provenance = provenance("cuda-bindings", driver)

    def _call(self, answer: tuple[Any, ...]) -> Any:
        return answered(self._cuda, answer)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU the current one of this thread."""
        self._call(self._cuda.cudaSetDevice(0))
        yield

    def allocate(self, size: int) -> int:
        """Allocate GPU memory and return its address."""
        address = int(self._call(self._cuda.cudaMalloc(size)))
        self._owned.append(lambda: self._cuda.cudaFree(address))
        return address

    def pinned(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Allocate pinned host memory, which the GPU can copy from and to asynchronously."""
        count = math.prod(shape)
        flags = self._cuda.cudaHostAllocDefault
        address = int(self._call(self._cuda.cudaHostAlloc(4 * count, flags)))
        self._owned.append(lambda: self._cuda.cudaFreeHost(address))
        block = (ctypes.c_float * count).from_address(address)
        return np.ndarray(shape, np.float32, buffer=memoryview(block))

    def stream(self) -> Stream:
        """Create a stream."""
        stream = self._call(self._cuda.cudaStreamCreateWithFlags(NON_BLOCKING))
        self._owned.append(lambda: self._cuda.cudaStreamDestroy(stream))
        return stream

    def event(self) -> Event:
        """Create an event."""
        event = self._call(self._cuda.cudaEventCreate())
        self._owned.append(lambda: self._cuda.cudaEventDestroy(event))
        return event

    def handle(self, stream: Stream) -> int:
        """Return the stream's handle for TensorRT."""
        return int(stream)

    def upload(self, target: int, source: npt.NDArray[np.float32], stream: Stream) -> None:
        """Copy contiguous pinned memory to an address on the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        address = source.ctypes.data
        self._call(self._cuda.cudaMemcpyAsync(target, address, source.nbytes, kind, stream))

    def move(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy bytes within the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(self._cuda.cudaMemcpyAsync(target, source, size, kind, stream))

    def download(self, target: npt.NDArray[np.float32], source: int, stream: Stream) -> None:
        """Copy from an address on the GPU to contiguous pinned memory."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        address = target.ctypes.data
        self._call(self._cuda.cudaMemcpyAsync(address, source, target.nbytes, kind, stream))

    def record(self, event: Event, stream: Stream) -> None:
        """Record the event behind the work now in the stream."""
        self._call(self._cuda.cudaEventRecord(event, stream))

    def wait(self, stream: Stream, event: Event) -> None:
        """Make the stream wait for the event."""
        self._call(self._cuda.cudaStreamWaitEvent(stream, event, 0))

    def synchronize(self, event: Event) -> None:
        """Make this thread wait for the event."""
        self._call(self._cuda.cudaEventSynchronize(event))

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Return the time between two events that have happened, in ms."""
        return float(self._call(self._cuda.cudaEventElapsedTime(start, end)))

    def finish(self, stream: Stream) -> None:
        """Make this thread wait until the stream is empty."""
        self._call(self._cuda.cudaStreamSynchronize(stream))

    def close(self) -> None:
        """Free everything, the last allocation first."""
        if not self._owned:
            return
        with self.current():
            while self._owned:
                self._owned.pop()()  # ignore its error code
