"""ONNX Runtime's profile: a JSON file of Chrome's tracing format.

https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.layers.places import Executed
from darnet_trt.runtime.bench.layers.profilers.profiler import MOST_RUNS, Run
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner

_KERNEL: Final = "_kernel_time"


class OnnxRuntimeProfiler:
    """See `Profiler`. `kernel` is the operator, with the type of its first input.

    Raises:
        UsageError: The engine is for a GPU. The profiler sees when a kernel was queued, not when
            it ran.
    """

    def __init__(self, artifact: Artifact, file: Path, threads: int | None) -> None:
        if artifact.target != "cpu":
            raise UsageError(
                "ONNX Runtime's profiler gives no times of layers on a GPU",
                where=artifact.name,
                do="choose another engine with --artifact",
            )
        self._folder = TemporaryDirectory()
        self.runner = OnnxRuntimeRunner(
            file, threads=threads, profile=Path(self._folder.name) / "profile"
        )
        self._count = 0
        self._events: list[dict[str, Any]] = []

    def after_run(self) -> None:
        """Stop the profiler when it has seen enough."""
        self._count += 1
        if self._count == MOST_RUNS:
            self._stop()

    def runs(self) -> list[Run]:
        """Return the layers' times of each run."""
        if self._count < MOST_RUNS:
            self._stop()
        self.runner.close()
        return read_runs(self._events)

    def _stop(self) -> None:
        self._events = json.loads(self.runner.end_profiling().read_text())
        self._folder.cleanup()


def read_runs(events: list[dict[str, Any]]) -> list[Run]:
    """Return the layers of each run; the event of a run follows those of its nodes."""
    found: list[Run] = []
    run: list[tuple[Executed, float]] = []
    for event in events:
        name: str = event["name"]
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            arguments = event["args"]
            operator: str = arguments["op_name"]
            types = [kind for tensor in arguments["input_type_shape"] for kind in tensor]
            kernel = " ".join((operator, *types[:1]))
            run.append((Executed(name.removesuffix(_KERNEL), operator, kernel), event["dur"] / 1e3))
        elif name == "model_run":
            found.append(run)
            run = []
    return found
