"""Int8 engines of one network, tried on scans while their method and layers are being chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto

from darnet_trt.calibration.collect import cache_folder
from darnet_trt.calibration.memo import Memo, digest
from darnet_trt.calibration.qdq import Form, Range, quantize
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.export.openvino_builder import build_openvino
from darnet_trt.export.packages import producer
from darnet_trt.export.parity import NOT_FINITE, run
from darnet_trt.output import cannot_keep
from darnet_trt.runtime.onnxruntime import OnnxRuntimeRunner
from darnet_trt.runtime.openvino import OpenVINORunner
from darnet_trt.runtime.runner import Runner

__all__ = ["Subject", "Trials"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is quantized, how, and what runs it.

    TensorRT's form, "s8" in a float16 graph, runs in ONNX Runtime alone: there it stands for the
    plan, which cannot run on a machine without its GPU.

    Attributes:
        reference: The float32 graph.
        graph: What is quantized: the same for "u8", the float16 one for "s8".
        form: Of `calibration.qdq`.
        backend: What runs it, on the CPU.
    """

    reference: ModelProto
    graph: ModelProto
    form: Form
    backend: Literal["openvino", "onnxruntime"]


class Trials:
    """Logits of engines with some layers quantized, each built and run once.

    They are kept in the user's cache under the hash of the graphs, the ranges, the scans and the
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
        graphs = (
            g.SerializeToString(deterministic=True) for g in (subject.reference, subject.graph)
        )
        self._key = digest(*graphs, inputs.hexdigest(), subject.form, producer(subject.backend))

    def logits(
        self, ranges: Mapping[str, Range], layers: frozenset[str]
    ) -> npt.NDArray[np.float32]:
        """float32 (scans, classes); no layers: the float32 engine's.

        Raises:
            BuildError: The backend does not take the graph.
            OutputError: There is no room for it among the temporary files.
        """
        used = {name: asdict(r) for name, r in sorted(ranges.items())} if layers else {}
        memo = Memo(cache_folder() / "trials" / f"{digest(self._key, used)}.jsonl")
        return np.array(memo.get(layers, lambda: self._run(ranges, layers)), np.float32)

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

    def _run(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> list[list[float]]:
        subject = self._subject
        graph = subject.reference
        if layers:
            graph = quantize(subject.graph, ranges, layers, subject.form)
        try:
            with TemporaryDirectory(prefix="darnet-trt-") as work:
                runner = self._open(graph, Path(work), quantized=bool(layers))
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
            return OnnxRuntimeRunner(
                file, threads=self._threads, as_written=self._subject.form != "u8"
            )
        xml, _ = build_openvino(file, work / "openvino")
        precision: Literal["int8", "fp32"] = "int8" if quantized else "fp32"
        return OpenVINORunner(xml, precision=precision, threads=self._threads)
