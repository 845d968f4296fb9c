"""The profile of a TensorRT or TensorRT-RTX plan: `IProfiler`, and names from `IEngineInspector`.

A context that has a profiler tells it every layer's time after each run, and the run waits for that
(`enqueue_emits_profile`, on by default). A CUDA graph would hide the layers, so the kernels are
queued one by one.

The inspector's JSON has "Metadata" for each layer: "[ONNX Layer: stages.0.0.conv1][ONNX Layer: …]".
"""

from __future__ import annotations

import json
import re
from collections import deque
from pathlib import Path
from typing import Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.runtime.bench.layers.places import Executed
from darnet_trt.runtime.bench.layers.profilers.profiler import MOST_RUNS, Run
from darnet_trt.runtime.engines.tensorrt.runner import open_plan

_NODE: Final = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


class TensorRTProfiler:
    """See `Profiler`. `kernel` is the tactic, where the plan names it, or the kind of layer."""

    def __init__(self, artifact: Artifact, file: Path) -> None:
        self.runner = open_plan(artifact, file)
        self._runs: deque[Run] = deque(maxlen=MOST_RUNS)
        self._times: list[tuple[str, float]] = []
        layers = self.runner.profile(lambda name, ms: self._times.append((name, ms)))
        self._layers = read_layers(layers)

    def after_run(self) -> None:
        """Take what TensorRT has told of the last volume."""
        run = [(self._layers.get(name, Executed(name, "", "")), ms) for name, ms in self._times]
        self._times.clear()
        self._runs.append(run)

    def runs(self) -> list[Run]:
        """Return the layers' times of each run."""
        self.runner.close()
        return list(self._runs)


def read_layers(information: str) -> dict[str, Executed]:
    """Return the layers of the inspector's JSON by name; a plan without details has only names."""
    found = {}
    for layer in json.loads(information)["Layers"]:
        if isinstance(layer, str):
            continue
        name, kind = layer["Name"], layer.get("LayerType", "")
        kernel = layer.get("TacticName") or kind
        found[name] = Executed(
            name, kind, kernel, tuple(_NODE.findall(layer.get("Metadata") or ""))
        )
    return found
