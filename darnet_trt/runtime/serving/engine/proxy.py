"""Let the pipeline of studies share the engine with requests over HTTP."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.engines.runner import Outputs, Runner
from darnet_trt.runtime.serving.engine.queue import EngineQueue


class Proxy:
    """Is a runner whose batches go through the queue, in places of their own.

    What an engine fails on waits here for the next engine, which the service loads; what that one
    fails on, too, raises its exception.

    Args:
        queue: The queue.
        of: The engine that the queue runs; says what it is.
    """

    def __init__(self, queue: EngineQueue, of: Runner) -> None:
        self._queue = queue
        self.backend, self.precision, self.classes = of.backend, of.precision, of.classes
        self.batch, self.provenance = of.batch, of.provenance

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w); wait for their turn."""
        return self._queue.apart(batch).result()

    def close(self) -> None:
        """Leave the engine to the queue."""
