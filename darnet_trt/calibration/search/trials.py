"""Int8 engines of one network, tried on scans while their method and layers are being chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto

from darnet_trt.calibration.qdq import Form, Range, quantize
from darnet_trt.calibration.search.memo import Memo
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.cache import cache_folder, digest
from darnet_trt.machine.files import cannot_keep
from darnet_trt.machine.hardware import producer
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import NOT_FINITE, Runner, run

__all__ = ["Subject", "Trials"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is quantized, how, and what runs it.

    TensorRT's form, "s8", stands for the plan, which cannot run on a machine without its GPU. What
    is not quantized is float32 here; `float16_range` sees to it that float16 can hold it.

    Attributes:
        model: The float32 graph.
        form: Of `calibration.qdq`.
        backend: What runs it, on the CPU.
    """

    model: ModelProto
    form: Form
    backend: Literal["openvino", "onnxruntime"]


class Trials:
    """Logits of engines with some layers quantized, each built and run once.

    They are kept in the user's cache under the hash of the graph that ran, of the scans and of the
    backend's version, so that an interrupted search goes on.

    Args:
        subject: What is tried.
        scans: Network inputs, each (1, d, h, w).
        threads: CPU threads; None leaves the number to the engine.
    """

    def __init__(
        self,
        subject: Subject,
        scans: Sequence[npt.NDArray[np.float32]],
        threads: int | None = None,
    ) -> None:
        self.scans = scans
        self._subject, self._threads = subject, threads
        inputs = hashlib.sha256()
        for scan in scans:
            inputs.update(np.ascontiguousarray(scan, np.float32).tobytes())
        key = digest(inputs.hexdigest(), producer(subject.backend))
        self._memo = Memo(cache_folder("calibration") / "trials" / f"{key}.jsonl")

    def logits(
        self, ranges: Mapping[str, Range], layers: frozenset[str]
    ) -> npt.NDArray[np.float32]:
        """float32 (scans, classes); no layers: the float32 engine's.

        Raises:
            BuildError: The backend does not take the graph.
            OutputError: There is no room for it among the temporary files.
        """
        model, form = self._subject.model, self._subject.form
        graph = quantize(model, ranges, layers, form) if layers else model
        key = digest(graph.SerializeToString(deterministic=True))
        found = self._memo.get([key], lambda: self._run(graph, quantized=bool(layers)))
        return np.array(found, np.float32)

    def error(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> float:
        """Largest difference from the float32 engine's logits, over their largest magnitude.

        Raises:
            UsageError: Those are all 0.
            BuildError: As `logits`.
            OutputError: As `logits`.
        """
        expected = self.logits(ranges, frozenset())
        magnitude = float(np.abs(expected).max())
        if magnitude == 0:
            raise UsageError(
                f"the float32 network's logits are 0 for all of {len(self.scans)} scans, so int8 "
                "can be compared with nothing",
                do="train again",
            )
        difference = float(np.abs(self.logits(ranges, layers) - expected).max())
        return difference / magnitude if np.isfinite(difference) else NOT_FINITE

    def _run(self, graph: ModelProto, *, quantized: bool) -> list[list[float]]:
        try:
            with TemporaryDirectory(prefix="darnet-trt-") as work:
                runner = self._open(graph, Path(work), quantized=quantized)
                try:
                    logits: list[list[float]] = run(runner, self.scans).logits.tolist()
                    return logits
                finally:
                    runner.close()
        except (OSError, OutputError) as error:
            raise cannot_keep("an int8 engine that is tried", error) from error

    def _open(self, graph: ModelProto, work: Path, *, quantized: bool) -> Runner:
        file = work / "model.onnx"
        onnx.save(graph, file)
        if self._subject.backend == "onnxruntime":
            return OnnxRuntimeRunner(file, threads=self._threads)
        xml, _ = build_openvino(file, work / "openvino")
        precision: Literal["int8", "fp32"] = "int8" if quantized else "fp32"
        return OpenVINORunner(xml, precision=precision, threads=self._threads)
