"""Run int8 engines of one network on scans, to choose the ranges' method and the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto

from darnet_trt.calibration.qdq import VERSION, Form, Range, quantize
from darnet_trt.calibration.search.memo import Memo
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.cache import cache_folder, digest
from darnet_trt.machine.files import cannot_keep
from darnet_trt.machine.hardware import producer
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import NOT_FINITE, Runner, run


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, the form of int8 it is quantized to, and the backend that runs it.

    The form of plans, "s8", runs here in place of a plan, which needs its own GPU. What is not
    quantized is float32 here and float16 in the plan; `float16_range` checks that float16 can hold
    it. A plan with the plugin computes the same: what it reads and writes in int8 is quantized in
    "s8", too.

    Attributes:
        model: The float32 graph.
        form: The form of `calibration.qdq`.
        backend: What runs it, on the CPU.
    """

    model: ModelProto
    form: Form
    backend: Literal["openvino", "onnxruntime"]

    @cached_property
    def digest(self) -> str:
        """Hash of the float32 graph."""
        return digest(self.model.SerializeToString(deterministic=True))


class Trials:
    """Logits of engines with some layers quantized; each engine is built and run once.

    They are kept in the user's cache under the hash of all that they depend on: the float32 graph,
    the form, the quantized layers, the ranges, the layers with a scale a channel, the version of
    `calibration.qdq`, the scans and the backend's version. So an interrupted search continues where
    it stopped.

    Args:
        subject: The network.
        scans: Network inputs, each (1, d, h, w).
        hashes: `hashed` of each.
        threads: CPU threads; None leaves the number to the engine.
    """

    def __init__(
        self,
        subject: Subject,
        scans: Sequence[npt.NDArray[np.float32]],
        hashes: Sequence[str],
        threads: int | None = None,
    ) -> None:
        self.scans = scans
        self._subject, self._threads = subject, threads
        key = digest(list(hashes), producer(subject.backend))
        self._memo = Memo(cache_folder("calibration") / "trials" / f"{key}.jsonl")

    def logits(
        self,
        ranges: Mapping[str, Range],
        layers: frozenset[str],
        by_channel: frozenset[str] = frozenset(),
    ) -> npt.NDArray[np.float32]:
        """Return float32 (scans, classes); without layers, those of the float32 engine.

        See `quantize` for the arguments.

        Raises:
            BuildError: The backend rejects the graph.
            OutputError: The temporary folder has no room for the engine.
        """
        parts: list[object] = [self._subject.digest]
        if layers:
            listed = {name: asdict(one) for name, one in ranges.items()}
            parts += [VERSION, self._subject.form, sorted(layers), listed, sorted(by_channel)]
        found = self._memo.get(digest(*parts), lambda: self._run(ranges, layers, by_channel))
        return np.array(found, np.float32)

    def error(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> float:
        """Return the largest difference from float32's logits, over their largest magnitude.

        Raises:
            UsageError: The float32 logits are all 0.
            BuildError: As `logits`.
            OutputError: As `logits`.
        """
        expected = self.logits(ranges, frozenset())
        magnitude = float(np.abs(expected).max())
        if magnitude == 0:
            raise UsageError(
                f"the float32 network's logits are 0 for all {len(self.scans)} scans; int8 has "
                "nothing to be compared with",
                do="train again",
            )
        difference = float(np.abs(self.logits(ranges, layers) - expected).max())
        return difference / magnitude if np.isfinite(difference) else NOT_FINITE

    def _run(
        self, ranges: Mapping[str, Range], layers: frozenset[str], by_channel: frozenset[str]
    ) -> list[list[float]]:
        try:
            with (
                TemporaryDirectory(prefix="darnet-trt-") as work,
                closing(self._open(self._graph(ranges, layers, by_channel), Path(work))) as runner,
            ):
                logits: list[list[float]] = run(runner, self.scans).logits.tolist()
                return logits
        except (OSError, OutputError) as error:
            raise cannot_keep("a trial's int8 engine", error) from error

    def _graph(
        self, ranges: Mapping[str, Range], layers: frozenset[str], by_channel: frozenset[str]
    ) -> ModelProto:
        model, form = self._subject.model, self._subject.form
        return quantize(model, ranges, layers, form, by_channel) if layers else model

    def _open(self, graph: ModelProto, work: Path) -> Runner:
        if self._subject.backend == "onnxruntime":
            file = work / "model.onnx"
            onnx.save(graph, file)
            return OnnxRuntimeRunner(file, threads=self._threads)
        xml, _ = build_openvino(graph, work / "openvino")
        precision: Literal["int8", "fp32"] = "fp32" if graph is self._subject.model else "int8"
        return OpenVINORunner(xml, precision=precision, threads=self._threads)
