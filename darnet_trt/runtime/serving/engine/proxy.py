"""Let the pipeline of studies share the engine with requests over HTTP."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.engines.runner import Outputs
from darnet_trt.runtime.serving.engine.job import Lane
from darnet_trt.runtime.serving.engine.queue import EngineQueue


class Proxy:
    """Is a runner whose batches go through the queue, in places of their own.

    What the engine fails on waits until it is loaded again; what it then fails on, too, raises its
    exception.

    Args:
        queue: The queue.
        lane: To the engine.
    """

    def __init__(self, queue: EngineQueue, lane: Lane) -> None:
        self._queue, self._lane, of = queue, lane, lane.runner
        self.backend, self.precision, self.classes = of.backend, of.precision, of.classes
        self.batch, self.provenance = of.batch, of.provenance

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w); wait for their turn."""
        return self._queue.apart(self._lane, batch).result()

    def close(self) -> None:
        """Leave the engine to the queue."""
