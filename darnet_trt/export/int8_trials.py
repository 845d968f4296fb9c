"""Int8 engines of one network, tried on scans while their method and layers are being chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto

from darnet_trt.calibration.collect import cache_folder
from darnet_trt.calibration.memo import Memo, digest
from darnet_trt.calibration.qdq import Range, quantize
from darnet_trt.export.openvino_builder import build_openvino
from darnet_trt.export.packages import producer
from darnet_trt.export.parity import run
from darnet_trt.runtime.onnxruntime import OnnxRuntimeRunner
from darnet_trt.runtime.openvino import OpenVINORunner
from darnet_trt.runtime.runner import Runner

__all__ = ["Trials"]

_FORM: Final = "u8"  # both backends for the CPU take it


class Trials:
    """Logits of engines with some layers quantized, each built and run once.

    They are kept in the user's cache under the hash of the graph, its ranges, the scans and the
    backend's version, so that an interrupted search goes on.

    Args:
        model: The float32 graph.
        scans: Network inputs, each (1, d, h, w).
        backend: What runs them.
        threads: CPU threads; None leaves the number to the engine.
    """

    def __init__(
        self,
        model: ModelProto,
        scans: Sequence[npt.NDArray[np.float32]],
        backend: Literal["openvino", "onnxruntime"],
        threads: int | None = None,
    ) -> None:
        self.scans = scans
        self._model, self._backend, self._threads = model, backend, threads
        inputs = hashlib.sha256()
        for scan in scans:
            inputs.update(np.ascontiguousarray(scan, np.float32).tobytes())
        graph = model.SerializeToString(deterministic=True)
        self._key = digest(graph, inputs.hexdigest(), producer(backend))

    def logits(
        self, ranges: Mapping[str, Range], layers: frozenset[str]
    ) -> npt.NDArray[np.float32]:
        """float32 (scans, classes); no layers: the float32 engine's.

        Raises:
            BuildError: The backend does not take the graph.
        """
        used = {name: asdict(r) for name, r in sorted(ranges.items())} if layers else {}
        memo = Memo(cache_folder() / "trials" / f"{digest(self._key, used)}.jsonl")
        return np.array(memo.get(layers, lambda: self._run(ranges, layers)), np.float32)

    def error(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> float:
        """Largest difference from the float32 engine's logits, over their largest magnitude."""
        expected = self.logits(ranges, frozenset())
        difference = np.abs(self.logits(ranges, layers) - expected).max()
        return float(difference / np.abs(expected).max())

    def _run(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> list[list[float]]:
        with TemporaryDirectory(prefix="darnet-trt-") as work:
            file = Path(work) / "model.onnx"
            onnx.save(quantize(self._model, ranges, layers, _FORM), file)
            runner = self._open(file, Path(work), quantized=bool(layers))
            try:
                logits: list[list[float]] = run(runner, self.scans).logits.tolist()
                return logits
            finally:
                runner.close()

    def _open(self, file: Path, work: Path, *, quantized: bool) -> Runner:
        if self._backend == "onnxruntime":
            return OnnxRuntimeRunner(file, threads=self._threads)
        xml, _ = build_openvino(file, work / "openvino")
        precision: Literal["int8", "fp32"] = "int8" if quantized else "fp32"
        return OpenVINORunner(xml, precision=precision, threads=self._threads)
