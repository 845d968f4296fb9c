"""What every engine runner gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Outputs", "Runner"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """One inference's results.

    Attributes:
        logits: float32 (n, classes).
        cam: Class activation map, float32 (n, classes, d/8, h/16, w/16).
    """

    logits: npt.NDArray[np.float32]
    cam: npt.NDArray[np.float32]

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Softmax of the logits, float64 (n, classes)."""
        shifted = np.exp(self.logits.astype(np.float64) - self.logits.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True))


class Runner(Protocol):
    """An engine that is loaded and ready.

    Attributes:
        backend: "openvino", "onnxruntime", "torch", …
        precision: What really runs, read back from the engine: "fp32", "bf16", "fp16", "int8".
        batch: Smallest and largest batch it takes.
        provenance: Versions, device, threads: whatever a latency depends on.
    """

    backend: str
    precision: str
    batch: tuple[int, int]
    provenance: dict[str, str]

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w)."""
        ...

    def close(self) -> None:
        """Free the engine."""
        ...
