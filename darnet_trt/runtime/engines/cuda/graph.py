"""CUDA graphs through cuda-python: capture a plan's kernels once, launch them with one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.runtime.engines.cuda.cuda_python import answered


class CudaGraph:
    """The work that `enqueue` queues in a stream, captured; it runs at `launch`.

    Args:
        stream: Handle of the stream; may be pycuda's.
        enqueue: Queues the work and returns whether it succeeded.

    Raises:
        MissingPackageError: cuda-python is not installed.
        DeviceError: The work cannot be captured.
    """

    def __init__(self, stream: int, enqueue: Callable[[], bool]) -> None:
        try:
            from cuda.bindings import runtime
        except ModuleNotFoundError as error:
            raise MissingPackageError("cuda-python", extra="tensorrt") from error
        self._cuda: Any = runtime
        self._stream = stream
        # Calls of other threads may go on during this capture.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        answered(runtime, runtime.cudaStreamBeginCapture(stream, mode))
        try:
            taken = enqueue()
        finally:  # else the stream could not be used any more
            ended = runtime.cudaStreamEndCapture(stream)
        graph = answered(runtime, ended)
        try:
            if not taken:
                raise DeviceError("the engine cannot be captured")
            self._executable = answered(runtime, runtime.cudaGraphInstantiate(graph, 0))
        finally:
            runtime.cudaGraphDestroy(graph)

    def launch(self) -> None:
        """Queue the captured work in the stream.

        Raises:
            DeviceError: CUDA failed.
        """
        answered(self._cuda, self._cuda.cudaGraphLaunch(self._executable, self._stream))

    def close(self) -> None:
        """Free the graph; the stream must be empty."""
        self._cuda.cudaGraphExecDestroy(self._executable)
