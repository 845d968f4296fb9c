"""OpenVINO's profile: `PERF_COUNT`, and the names that its compiled graph keeps."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.runtime.bench.layers.places import Executed
from darnet_trt.runtime.bench.layers.profilers.profiler import MOST_RUNS, Run
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner

_NOTHING: Final = ("undef", "unknown")
"""Begin the types of execution of what is fused into another layer, and of what takes no time."""


class OpenVINOProfiler:
    """See `Profiler`. `kernel` is the type of execution: "brgconv_avx512_I8".

    OpenVINO counts in microseconds, and says that what took less did not run; here it takes none.
    """

    def __init__(self, artifact: Artifact, file: Path, threads: int | None) -> None:
        self.runner = OpenVINORunner(
            file, precision=artifact.precision, threads=threads, profiled=True
        )
        graph = self.runner.request.get_compiled_model().get_runtime_model()
        self._origins = {op.get_friendly_name(): _origins(op) for op in graph.get_ops()}
        self._runs: deque[Run] = deque(maxlen=MOST_RUNS)

    def after_run(self) -> None:
        """Read the times of the last volume."""
        self._runs.append(
            [
                (
                    Executed(
                        layer.node_name,
                        layer.node_type,
                        layer.exec_type,
                        self._origins.get(layer.node_name, ()),
                    ),
                    layer.real_time.total_seconds() * 1e3,
                )
                for layer in self.runner.request.get_profiling_info()
                if layer.status.name == "EXECUTED" or not layer.exec_type.startswith(_NOTHING)
            ]
        )

    def runs(self) -> list[Run]:
        """Return the layers' times of each run."""
        self.runner.close()
        return list(self._runs)


def _origins(operator: Any) -> tuple[str, ...]:
    names: str = operator.get_rt_info()["originalLayersNames"].astype(str)
    return tuple(name for name in names.split(",") if name)
