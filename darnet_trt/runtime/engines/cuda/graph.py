"""CUDA graphs, through cuda-python: a plan's kernels captured once and launched with one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.runtime.engines.cuda.cuda_python import answered

__all__ = ["CudaGraph"]


class CudaGraph:
    """What `enqueue` puts into a stream; nothing of it runs before `launch`.

    Args:
        stream: Handle of the stream, which may be pycuda's.
        enqueue: Fills the stream and says whether it could.

    Raises:
        MissingPackageError: cuda-python is not installed.
        DeviceError: What was put into the stream cannot be captured.
    """

    def __init__(self, stream: int, enqueue: Callable[[], bool]) -> None:
        try:
            from cuda.bindings import runtime
        except ModuleNotFoundError as error:
            raise MissingPackageError("cuda-python", extra="gpu") from error
        self._cuda: Any = runtime
        self._stream = stream
        # Other threads' calls do no harm to what this one captures.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        answered(runtime, runtime.cudaStreamBeginCapture(stream, mode))
        try:
            taken = enqueue()
        finally:  # else the stream would take nothing else
            ended = runtime.cudaStreamEndCapture(stream)
        graph = answered(runtime, ended)
        try:
            if not taken:
                raise DeviceError("the engine does not take a capture")
            self._executable = answered(runtime, runtime.cudaGraphInstantiate(graph, 0))
        finally:
            runtime.cudaGraphDestroy(graph)

    def launch(self) -> None:
        """Put it all into the stream.

        Raises:
            DeviceError: CUDA failed.
        """
        answered(self._cuda, self._cuda.cudaGraphLaunch(self._executable, self._stream))

    def close(self) -> None:
        """Free it; the stream must be empty."""
        self._cuda.cudaGraphExecDestroy(self._executable)
