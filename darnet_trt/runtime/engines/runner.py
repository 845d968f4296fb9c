"""The interface of every engine runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BundleError
from darnet_trt.evaluation.metrics import softmax

NOT_FINITE: Final = 1e9
"""Reported instead of NaN or infinity, which JSON does not have."""


OUTPUTS: Final = ("logits", "cam", "features")
"""Names of an engine's outputs, in the order of `Outputs`; older bundles have no features."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """The results of one inference.

    Attributes:
        logits: float32 (n, classes).
        cam: Class activation map, float32 (n, classes, d/8, h/16, w/16).
        features: The pooled features before the classifier, float32 (n, 8·width); None where an
            engine of an older bundle does not give them.
    """

    logits: npt.NDArray[np.float32]
    cam: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Return the softmax of the logits, float64 (n, classes)."""
        return softmax(self.logits)

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Return for each scan whether its outputs have no NaN and no infinity, (n,)."""
        finite = np.ones(len(self.logits), np.bool_)
        for array in (self.logits, self.cam, self.features):
            if array is not None:
                finite &= np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        return finite

    def part(self, scans: slice) -> Outputs:
        """Return the outputs of some of the scans."""
        features = None if self.features is None else self.features[scans]
        return Outputs(self.logits[scans], self.cam[scans], features)


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of all parts, of one engine, in order."""
    if len(parts) == 1:
        return parts[0]
    features = [part.features for part in parts if part.features is not None]
    return Outputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.cam for part in parts]),
        np.concatenate(features) if features else None,
    )


class Runner(Protocol):
    """A loaded engine.

    Attributes:
        backend: "openvino", "onnxruntime", "torch", …
        precision: The precision it runs in, read back from the engine: "fp32", "bf16", "fp16",
            "int8".
        batch: Smallest and largest batch.
        classes: Number of logits.
        provenance: Versions, device, threads: all that a latency depends on.
    """

    backend: str
    precision: str
    batch: tuple[int, int]
    classes: int
    provenance: dict[str, str]

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w)."""
        ...

    def close(self) -> None:
        """Free the engine."""
        ...


def runs_on_gpu(runner: Runner) -> bool:
    """Return whether an engine runs on a GPU."""
    on_cpu = ("CPU", "CPUExecutionProvider")  # of torch and of ONNX Runtime
    return runner.backend != "openvino" and runner.provenance["device"] not in on_cpu


def run(runner: Runner, inputs: Sequence[npt.NDArray[np.float32]]) -> Outputs:
    """Infer scans, each (1, d, h, w), one at a time; return outputs with n = scans."""
    return joined([runner.infer(scan[None]) for scan in inputs])


def count_classes(outputs: Mapping[str, Sequence[object]], model: str | Path) -> int:
    """Return the number of a network's classes.

    Args:
        outputs: Name → shape with the batch; a size that varies is not an int.
        model: The model's name in errors.

    Raises:
        BundleError: The outputs are not logits (n, classes), cam (n, classes, d, h, w) and
            features (n, f); engines of older bundles have no features.
    """
    logits, cam = outputs.get("logits", ()), outputs.get("cam", ())
    sizes = len(logits), len(cam), len(outputs.get("features", (0, 0)))
    if sizes == (2, 5, 2) and isinstance(logits[1], int) and logits[1] == cam[1]:
        return logits[1]
    found = ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in outputs.items())
    raise BundleError(
        f"its outputs are {found or 'none'}, expected logits (n, classes), cam (n, classes, d, h, "
        "w) and features (n, f)",
        where=model,
        do="build the bundle again",
    )
