"""Calibration data → the ranges and the layers of an int8 network that keeps its decisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Final, Literal, cast

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from darnet_trt.calibration.collect import Collector, merged, peak_bytes
from darnet_trt.calibration.data import CalibrationScans, HeldOut
from darnet_trt.calibration.decisions import decide
from darnet_trt.calibration.qdq import Form, Range, convolutions, quantize, quantized_tensors
from darnet_trt.calibration.ranges import METHODS, Method, ranges_of
from darnet_trt.calibration.sensitivity import Error, Found, effects, fewest_spared, ranked
from darnet_trt.export.int8_trials import Trials
from darnet_trt.runtime.manifest import LayerEffect, Quantization

__all__ = ["AskedMethod", "Int8", "Search", "calibrate", "trial_backend"]

AskedMethod = Literal["auto", "minmax", "percentile", "entropy", "mse"]

# Methods and layers are told apart on a few scans; the decisions are judged on all.
_SELECTION_SCANS: Final = 8


@dataclass(frozen=True)
class Search:
    """How an int8 network is looked for.

    Attributes:
        method: Of `ranges_of`; "auto" tries all and takes the one with the smallest error.
        sensitivity: Measure each layer's effect also where all layers pass.
        seconds: For the layers' effects, and as many again for the search after them.
        backend: What runs the trials.
        threads: CPU threads of calibration and trials.
    """

    method: AskedMethod = "auto"
    sensitivity: bool = False
    seconds: float = 600.0
    backend: Literal["openvino", "onnxruntime"] = "openvino"
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Int8:
    """What to quantize and how.

    Attributes:
        ranges: Of each activation.
        layers: Convolutions to quantize.
        expected: The float32 engine's logits for the scans kept aside, (scans, classes).
        report: For the manifest.
        magnitudes: The largest of each activation on the calibration scans.
    """

    ranges: Mapping[str, Range]
    layers: frozenset[str]
    expected: npt.NDArray[np.float32]
    report: Quantization
    magnitudes: Mapping[str, float]

    def graph(self, model: ModelProto, form: Form) -> ModelProto:
        """The float32 or float16 graph, quantized."""
        return quantize(model, self.ranges, self.layers, form)

    def as_json(self) -> str:
        """The report, and the range of each activation."""
        content = self.report.model_dump(mode="json")
        content["ranges"] = {name: asdict(found) for name, found in self.ranges.items()}
        return json.dumps(content, indent=2) + "\n"


def calibrate(
    model: ModelProto,
    scans: CalibrationScans,
    held_out: HeldOut,
    search: Search,
    log: Callable[[str], None],
) -> Int8:
    """Find ranges, and the fewest layers to spare, so that the decisions are kept.

    Where no set of layers keeps them, all are quantized: the gate then refuses the engine, and the
    report says what was tried.

    Args:
        model: The float32 graph.
        scans: Whose activations give the ranges; read one at a time.
        held_out: Others, on which methods, layers and decisions are judged.
        search: How.
        log: Takes a line on each step.

    Raises:
        UsageError: The scans cannot calibrate this model.
        BuildError: The backend does not take a graph.
    """
    layers = convolutions(model)
    tensors = quantized_tensors(model, layers)
    log(f"calibration: {scans.source}; about {peak_bytes(model, tensors) / 1e9:.1f} GB of memory")
    collector = Collector(model, tensors, threads=search.threads)
    try:
        found = merged(
            collector,
            scans.volumes(),
            lambda done: log(f"calibration: scan {done} of {scans.count}"),
        )
    finally:
        collector.close()
    few = Trials(model, held_out.inputs[:_SELECTION_SCANS], search.backend, search.threads)
    errors: dict[str, float] = {
        method: few.error(ranges_of(found, method), frozenset(layers))
        for method in _methods(search.method)
    }
    method = cast(Method, min(errors, key=lambda name: errors[name]))
    log(f"ranges by {method}; logits errors: {_listed(errors)}")
    ranges = ranges_of(found, method)
    every = Trials(model, held_out.inputs, search.backend, search.threads)
    expected = every.logits(ranges, frozenset())

    def keeps_decisions(chosen: frozenset[str]) -> bool:
        got = every.logits(ranges, chosen)
        return decide(expected, got, held_out.labels, held_out.source).passed

    measured: tuple[LayerEffect, ...] = ()
    result = Found(frozenset(layers), (), {0: keeps_decisions(frozenset(layers))}, finished=True)
    if search.sensitivity or not result.tried[0]:
        measured = _effects(layers, lambda chosen: few.error(ranges, chosen), search, log)
    if not result.tried[0]:
        order = _order(layers, measured)
        result = fewest_spared(order, keeps_decisions, seconds=search.seconds, log=log)
    chosen = result.quantized or frozenset(layers)
    return Int8(
        ranges,
        chosen,
        expected,
        Quantization(
            scans=scans.count,
            source=scans.source,
            digest=scans.digest,
            random=scans.random,
            method=method,
            errors=errors,
            layers=tuple(name for name in layers if name in chosen),
            spared=result.spared if result.quantized else (),
            effects=measured,
            trials=result.tried,
        ),
        {name: statistics.magnitude for name, statistics in found.items()},
    )


def trial_backend() -> Literal["openvino", "onnxruntime"]:
    """What this machine tries int8 with: OpenVINO where it is installed."""
    return "onnxruntime" if find_spec("openvino") is None else "openvino"


def _methods(asked: AskedMethod) -> tuple[Method, ...]:
    return METHODS if asked == "auto" else (asked,)


def _effects(
    layers: Sequence[str],
    error: Error,
    search: Search,
    log: Callable[[str], None],
) -> tuple[LayerEffect, ...]:
    """Most harmful first."""
    parts = {name: frozenset([name]) for name in layers}
    found = ranked(effects(parts, error, seconds=search.seconds, log=log))
    return tuple(LayerEffect(layer=e.layer, alone=e.alone, left_out=e.left_out) for e in found)


def _order(layers: Sequence[str], measured: Sequence[LayerEffect]) -> list[str]:
    """What was measured first; the rest, for which there was no time, in the graph's order."""
    first = [effect.layer for effect in measured]
    return first + [name for name in layers if name not in first]


def _listed(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {error:.2g}" for name, error in errors.items())
