"""An engine that sleeps, so that clients on the same cores take nothing from it."""

import threading
import time

import numpy as np

from darnet_trt.runtime.engines.runner import Outputs


class Sleeping:
    """Its logits are the first voxel of each volume, plus `offset`."""

    classes = 3
    precision = "fp32"

    def __init__(self, volume_s=0.0, *, batch=1, fails=0, offset=0.0):
        self.batch = (1, batch)
        self.backend = "openvino" if batch == 1 else "tensorrt"
        self.provenance = {"device": "CPU" if batch == 1 else "GPU"}
        self.batches = []
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()
        self._volume_s, self._fails, self._offset = volume_s, fails, offset

    def infer(self, batch):
        assert not self.closed
        self.gate.wait(60)
        self.batches.append(batch[:, 0, 0, 0, 0].tolist())
        if self._fails:
            self._fails -= 1
            raise RuntimeError("out of memory")
        time.sleep(self._volume_s)
        logits = np.repeat(batch[:, :, 0, 0, 0] + self._offset, self.classes, axis=1)
        return Outputs(logits, np.zeros((len(batch), self.classes, 1, 1, 1), np.float32))

    def close(self):
        self.closed = True


def volumes(*values):
    """One small volume for each value."""
    return np.stack([np.full((1, 2, 2, 2), value, np.float32) for value in values])
