"""Calibration data → the ranges and the layers of an int8 network that keeps its decisions.

Each form is searched by itself: TensorRT's has no zero points, so that its best ranges and the
layers it must spare may be others than those of the engines for the CPU. The
statistics are gathered once. Methods and layers are compared on scans that calibrated; those that
were kept aside only judge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from darnet_trt.bundle.manifest import Decisions, LayerEffect, Quantization
from darnet_trt.calibration.activations.collect import Collector, merged
from darnet_trt.calibration.activations.histogram import Statistics
from darnet_trt.calibration.activations.ranges import METHODS, Method, ranges_of
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.qdq import Form, Range, convolutions, quantize, quantized_tensors
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.search.sensitivity import (
    Effect,
    Found,
    Sensitivity,
    fewest_spared,
    search_notes,
    sensitivity,
    sparing_order,
)
from darnet_trt.calibration.search.trials import Subject, Trials

__all__ = ["AskedMethod", "Int8", "Search", "calibrate", "gather", "trial_backend"]

AskedMethod = Literal["auto", "minmax", "percentile", "entropy", "mse"]

# Enough to tell methods and layers apart; the decisions are judged on all that were kept aside.
_SELECTION_SCANS: Final = 8
_RUN_BY: Final[dict[Form, str]] = {"u8": "the CPU", "s8": "TensorRT"}


@dataclass(frozen=True)
class Search:
    """How an int8 network is looked for.

    Attributes:
        method: Of `ranges_of`; "auto" tries all and takes the one with the smallest error.
        sensitivity: Measure the blocks' and layers' effects also where all layers pass.
        seconds: For these effects, and as many again for the search after them; of each form.
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
        layers: Convolutions to quantize: all of them where no set kept the decisions.
        expected: The float32 engine's logits for the scans kept aside, (scans, classes).
        report: For the manifest.
        decisions: Of the network with these layers quantized, as the trials' backend runs it.
    """

    ranges: Mapping[str, Range]
    layers: frozenset[str]
    expected: npt.NDArray[np.float32]
    report: Quantization
    decisions: Decisions

    def graph(self, model: ModelProto, form: Form) -> ModelProto:
        """The float32 or float16 graph, quantized."""
        return quantize(model, self.ranges, self.layers, form)

    def as_json(self) -> str:
        """The report, the decisions, and the range of each activation."""
        content = self.report.model_dump(mode="json")
        content["decisions"] = self.decisions.model_dump(mode="json")
        content["ranges"] = {name: asdict(found) for name, found in self.ranges.items()}
        return json.dumps(content, indent=2) + "\n"


def gather(
    model: ModelProto, scans: CalibrationScans, threads: int | None, log: Callable[[str], None]
) -> dict[str, Statistics]:
    """What each activation that can be quantized is on the scans, read one at a time.

    Args:
        model: The float32 graph.
        scans: Whose activations.
        threads: CPU threads; None leaves the number to ONNX Runtime.
        log: Takes a line a scan.

    Raises:
        UsageError: The graph is quantized already, or a scan holds NaN or infinite values.
    """
    log(f"calibration: {scans.source}")
    collector = Collector(model, quantized_tensors(model, convolutions(model)), threads=threads)
    try:
        return merged(
            collector,
            scans.volumes(),
            lambda done: log(f"calibration: scan {done} of {scans.count}"),
        )
    finally:
        collector.close()


def calibrate(
    model: ModelProto,
    found: Mapping[str, Statistics],
    forms: Iterable[Form],
    scans: CalibrationScans,
    held_out: HeldOut,
    search: Search,
    log: Callable[[str], None],
) -> dict[Form, Int8]:
    """Find ranges, and the fewest layers to spare, so that the decisions are kept.

    Args:
        model: The float32 graph.
        found: `gather`.
        forms: Which are wanted: "u8" for engines on the CPU, "s8" for plans.
        scans: Whose activations gave the ranges; the first few compare methods and layers, too.
        held_out: Others, on which the decisions are judged.
        search: How.
        log: Takes a line on each step.

    Raises:
        UsageError: The scans cannot calibrate this model.
        BuildError: The backend does not take a graph.
        OutputError: There is no room for temporary files.
    """
    return {
        form: _Search(model, form, found, scans, held_out, search, log).result() for form in forms
    }


def trial_backend() -> Literal["openvino", "onnxruntime"]:
    """What this machine tries int8 with: OpenVINO where it is installed."""
    return "onnxruntime" if find_spec("openvino") is None else "openvino"


class _Search:
    """Of one form."""

    def __init__(
        self,
        model: ModelProto,
        form: Form,
        found: Mapping[str, Statistics],
        scans: CalibrationScans,
        held_out: HeldOut,
        search: Search,
        log: Callable[[str], None],
    ) -> None:
        self._form, self._found, self._scans = form, found, scans
        self._held_out, self._search = held_out, search
        self._layers = convolutions(model)
        subject = Subject(model, form, search.backend)
        self._few = Trials(subject, scans.inputs[:_SELECTION_SCANS], search.threads)
        self._every = Trials(subject, held_out.inputs, search.threads)
        self._unnamed_log = log

    def _log(self, line: str) -> None:
        self._unnamed_log(f"int8 for {_RUN_BY[self._form]}: {line}")

    def result(self) -> Int8:
        """Method, then layers, then the verdict."""
        errors = self._errors()
        method = min(errors, key=lambda name: errors[name])
        self._log(f"ranges by {method}; logits errors: {_listed(errors)}")
        ranges = ranges_of(self._found, method, self._form)
        found, measured = self._chosen(ranges)
        layers = found.quantized or frozenset(self._layers)
        expected = self._every.logits(ranges, frozenset())
        decisions = self._decisions(ranges, layers)
        kept = "; ".join(decisions.failures) or "kept"
        self._log(f"{len(layers)} of {len(self._layers)} layers in eight bits; decisions: {kept}")
        notes = (*decisions.notes, *search_notes(found.tried))
        return Int8(
            ranges,
            layers,
            expected,
            Quantization(
                scans=self._scans.count,
                source=self._scans.source,
                digest=self._scans.digest,
                random=self._scans.random,
                method=method,
                errors={str(name): error for name, error in errors.items()},
                layers=tuple(name for name in self._layers if name in layers),
                spared=found.spared if found.quantized else (),
                effects=_listing(measured.layers),
                block_effects=_listing(measured.blocks),
                trials=found.tried,
            ),
            decisions.model_copy(update={"notes": notes}),
        )

    def _errors(self) -> dict[Method, float]:
        asked = self._search.method
        methods = METHODS if asked == "auto" else (asked,)
        every = frozenset(self._layers)
        return {
            method: self._few.error(ranges_of(self._found, method, self._form), every)
            for method in methods
        }

    def _chosen(self, ranges: Mapping[str, Range]) -> tuple[Found, Sensitivity]:
        """All layers where these keep the decisions, else the most that do."""

        def failures(layers: frozenset[str]) -> tuple[str, ...]:
            return self._decisions(ranges, layers).failures

        every = frozenset(self._layers)
        found = Found(every, (), {0: failures(every)}, finished=True)
        measured = Sensitivity((), ())
        if self._search.sensitivity or found.tried[0]:
            measured = sensitivity(
                self._layers,
                lambda layers: self._few.error(ranges, layers),
                seconds=self._search.seconds,
                log=self._log,
            )
        if found.tried[0]:
            order = sparing_order(self._layers, measured)
            found = fewest_spared(order, failures, seconds=self._search.seconds, log=self._log)
        return found, measured

    def _decisions(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> Decisions:
        """On the scans that were kept aside."""
        held_out = self._held_out
        expected = self._every.logits(ranges, frozenset())
        got = self._every.logits(ranges, layers)
        return decide(expected, got, held_out.labels, held_out.source)


def _listing(found: tuple[Effect, ...]) -> tuple[LayerEffect, ...]:
    return tuple(LayerEffect(layer=e.name, alone=e.alone, left_out=e.left_out) for e in found)


def _listed(errors: Mapping[Method, float]) -> str:
    return ", ".join(f"{name} {error:.2g}" for name, error in errors.items())
