"""Use the GPU through pycuda."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
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


class PyCudaDevice:
    """One GPU as in `CudaPythonDevice`, over `pycuda.driver`.

    Its functions raise, and its objects free themselves.
    """

    def __init__(self) -> None:
        try:
            from pycuda import driver
        except ModuleNotFoundError as error:
            raise MissingPackageError("pycuda", extra="pycuda") from error
        except ImportError as error:  # pycuda needs the driver's library
            raise no_driver() from error
        self._cuda: Any = driver
        self._owned: list[Any] = []
        with self._errors():
            driver.init()
            if driver.Device.count() == 0:
                raise no_gpu()
            gpu = driver.Device(0)
            self._context = _primary_context(gpu)
            self.name: str = gpu.name()
            major, minor = gpu.compute_capability()
            self.provenance = provenance("pycuda", driver.get_driver_version())
        self.capability = (int(major), int(minor))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise cuda_failed(error) from error

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU the current one of this thread."""
        with self._errors():
            self._context.push()
            try:
                yield
            finally:
                self._cuda.Context.pop()

    def allocate(self, size: int) -> int:
        """Allocate GPU memory and return its address."""
        with self._errors():  # here, because there may be too little memory
            memory = self._cuda.mem_alloc(size)
        self._owned.append(memory)
        return int(memory)

    def pinned(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Allocate pinned host memory, which the GPU can copy from and to asynchronously."""
        array: npt.NDArray[np.float32] = self._cuda.pagelocked_empty(shape, np.float32)
        self._owned.append(array)
        return array

    def stream(self) -> Stream:
        """Create a stream."""
        stream = self._cuda.Stream(NON_BLOCKING)
        self._owned.append(stream)
        return stream

    def event(self) -> Event:
        """Create an event."""
        event = self._cuda.Event()
        self._owned.append(event)
        return event

    def handle(self, stream: Stream) -> int:
        """Return the stream's handle for TensorRT."""
        return int(stream.handle)

    def upload(self, target: int, source: npt.NDArray[np.float32], stream: Stream) -> None:
        """Copy contiguous pinned memory to an address on the GPU."""
        self._cuda.memcpy_htod_async(target, source, stream)

    def move(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy bytes within the GPU."""
        self._cuda.memcpy_dtod_async(target, source, size, stream)

    def download(self, target: npt.NDArray[np.float32], source: int, stream: Stream) -> None:
        """Copy from an address on the GPU to contiguous pinned memory."""
        self._cuda.memcpy_dtoh_async(target, source, stream)

    def record(self, event: Event, stream: Stream) -> None:
        """Record the event behind the work now in the stream."""
        event.record(stream)

    def wait(self, stream: Stream, event: Event) -> None:
        """Make the stream wait for the event."""
        stream.wait_for_event(event)

    def synchronize(self, event: Event) -> None:
        """Make this thread wait for the event."""
        event.synchronize()

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Return the time between two events that have happened, in ms."""
        return float(end.time_since(start))

    def finish(self, stream: Stream) -> None:
        """Make this thread wait until the stream is empty."""
        with self._errors():  # here, because callers catch it within `current`
            stream.synchronize()

    def close(self) -> None:
        """Free everything, the last allocation first."""
        if not self._owned:
            return
        with self.current():
            while self._owned:
                self._owned.pop()


@cache
def _primary_context(gpu: Any) -> Any:
    """Return the context and keep it: pycuda can free it only in the thread that took it."""
    return gpu.retain_primary_context()
