"""Find the ranges, scales and layers of an int8 network that keeps the float32 decisions.

Each form is searched separately: TensorRT's has no zero points, so its best ranges and the layers
it must keep in float may differ from those for the CPU. The statistics are collected once. Methods
and layers are compared on the calibration scans; the held-out scans only judge.
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

from darnet_trt.bundle.manifest import Decisions, Quantization
from darnet_trt.calibration.activations.collect import Collector, merged
from darnet_trt.calibration.activations.histogram import Statistics
from darnet_trt.calibration.activations.ranges import METHODS, ranges_of
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.decisions.margins import MARGINS, SEARCHED
from darnet_trt.calibration.equalize import Divisors, equalized
from darnet_trt.calibration.qdq import Form, Range, convolutions, quantize, quantized_tensors
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.search.scales import Scales, choose_scales
from darnet_trt.calibration.search.sensitivity import (
    Found,
    Layers,
    Sensitivity,
    at_a_quarter,
    fewest_spared,
    search_notes,
    sensitivity,
    sparing_order,
)
from darnet_trt.calibration.search.trials import Subject, Trials

AskedMethod = Literal["auto", "minmax", "percentile", "kl", "mse"]

# Enough to tell methods and layers apart; decisions are judged on all held-out scans.
_SELECTION_SCANS: Final = 8
_RUN_BY: Final[dict[Form, str]] = {"u8": "the CPU", "s8": "TensorRT"}


@dataclass(frozen=True)
class Search:
    """The settings of a search for an int8 network.

    Attributes:
        method: Method of `ranges_of`; "auto" tries all and takes the one with the smallest error.
        sensitivity: Measure the effects of blocks and layers even if int8 in all layers passes.
        seconds: Time limit of each form for measuring the effects, and again for the search.
        backend: What runs the trials.
        threads: CPU threads of calibration and trials; None leaves the number to the engines.
    """

    method: AskedMethod = "auto"
    sensitivity: bool = False
    seconds: float = 600.0
    backend: Literal["openvino", "onnxruntime"] = "openvino"
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Int8:
    """The result of the search: the layers in int8, and their ranges.

    Attributes:
        ranges: Range of each activation.
        layers: Convolutions to quantize: all of them if no set kept the decisions.
        scales: How their weights are scaled.
        expected: The float32 engine's logits for the held-out scans, (scans, classes).
        report: What the manifest says about the calibration.
        decisions: Those of the network with these layers quantized, run by the trials' backend.
    """

    ranges: Mapping[str, Range]
    layers: frozenset[str]
    scales: Scales
    expected: npt.NDArray[np.float32]
    report: Quantization
    decisions: Decisions

    def graph(self, model: ModelProto, form: Form) -> ModelProto:
        """Quantize the float32 or float16 graph."""
        if self.scales.divisors:
            model = equalized(model, self.scales.divisors)
        return quantize(model, self.ranges, self.layers, form, self.scales.by_channel)

    def as_json(self) -> str:
        """Return the report, the decisions and the range of each activation."""
        content = self.report.model_dump(mode="json")
        content["decisions"] = self.decisions.model_dump(mode="json")
        content["ranges"] = {name: asdict(found) for name, found in self.ranges.items()}
        return json.dumps(content, indent=2) + "\n"


def gather(
    model: ModelProto, scans: CalibrationScans, threads: int | None, log: Callable[[str], None]
) -> dict[str, Statistics]:
    """Return the statistics of each activation that can be quantized.

    Args:
        model: The float32 graph.
        scans: The scans to run, one at a time.
        threads: CPU threads; None leaves the number to ONNX Runtime.
        log: Takes a line for each quarter of the scans.

    Raises:
        UsageError: The graph is quantized already, or a scan holds NaN or infinite values.
    """

    def read(done: int) -> None:
        if at_a_quarter(done, scans.count):
            log(f"calibration: scan {done} of {scans.count}")

    log(f"calibration: ranges from {scans.source}")
    return merged(
        Collector(model, quantized_tensors(model, convolutions(model)), threads=threads),
        scans.inputs,
        scans.hashes,
        read,
    )


def calibrate(
    model: ModelProto,
    found: Mapping[str, Statistics],
    forms: Iterable[Form],
    scans: CalibrationScans,
    held_out: HeldOut,
    search: Search,
    log: Callable[[str], None],
) -> dict[Form, Int8]:
    """Find ranges, and the fewest layers to keep in float, so that the decisions are kept.

    Args:
        model: The float32 graph.
        found: What `gather` returned.
        forms: Forms to search: "u8" for engines on the CPU, "s8" for plans.
        scans: The scans that gave the statistics; the first few also compare methods and layers.
        held_out: Scans of other patients, on which the decisions are judged.
        search: How to search.
        log: Takes a line on each step.

    Raises:
        UsageError: The scans cannot calibrate this model.
        BuildError: The backend rejects a graph.
        OutputError: The temporary folder is full.
    """
    return {
        form: _Search(model, form, found, scans, held_out, search, log).result() for form in forms
    }


def trial_backend() -> Literal["openvino", "onnxruntime"]:
    """Return what tries int8 on this machine: OpenVINO if it is installed."""
    return "onnxruntime" if find_spec("openvino") is None else "openvino"


class _Variant:
    """A float32 graph, perhaps with equalized channels, and the method and ranges found for it."""

    def __init__(
        self,
        subject: Subject,
        found: Mapping[str, Statistics],
        scans: CalibrationScans,
        held_out: HeldOut,
        search: Search,
    ) -> None:
        every = frozenset(convolutions(subject.model, subject.form))
        few = scans.inputs[:_SELECTION_SCANS], scans.hashes[:_SELECTION_SCANS]
        self.few = Trials(subject, *few, search.threads)
        self.judging = Trials(subject, held_out.inputs, held_out.hashes, search.threads)
        self.errors = {
            method: self.few.error(ranges_of(found, method, subject.form), every)
            for method in (METHODS if search.method == "auto" else (search.method,))
        }
        self.method = min(self.errors, key=lambda name: self.errors[name])
        self.error = self.errors[self.method]
        self.ranges = ranges_of(found, self.method, subject.form)


class _Search:
    """The search of one form."""

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
        self._model, self._form, self._scans = model, form, scans
        self._held_out, self._search = held_out, search
        self._layers = convolutions(model, form)
        self._unnamed_log = log
        self._plain = self._variant(model, found)
        self._equalized: _Variant | None = None

    def _log(self, line: str) -> None:
        self._unnamed_log(f"int8 for {_RUN_BY[self._form]}: {line}")

    def _variant(self, model: ModelProto, found: Mapping[str, Statistics]) -> _Variant:
        subject = Subject(model, self._form, self._search.backend)
        made = _Variant(subject, found, self._scans, self._held_out, self._search)
        listed = ", ".join(f"{name} {error:.2g}" for name, error in made.errors.items())
        self._log(f"logits error by method: {listed}; ranges by {made.method}")
        return made

    def _scaled(self, by: Divisors) -> _Variant:
        """Return the graph with these divisors; its activations have other ranges."""
        if not by:
            return self._plain
        if self._equalized is None:
            model = equalized(self._model, by)
            found = gather(model, self._scans, self._search.threads, self._log)
            self._equalized = self._variant(model, found)
        return self._equalized

    def result(self) -> Int8:
        """Choose the method, the weights' scales, then the layers, and judge the decisions."""
        every, scales = frozenset(self._layers), Scales()
        if self._form != "u8":
            scales = choose_scales(
                self._model,
                self._layers,
                lambda by, layers: self._decisions(self._scaled(by), every, layers).failures,
                lambda by: self._scaled(by).error,
                seconds=self._search.seconds,
                log=self._log,
            )
        chosen = self._scaled(scales.divisors)
        found, measured = self._chosen(chosen, scales.by_channel)
        layers = found.quantized or every
        decisions = self._decisions(chosen, layers, scales.by_channel)
        kept = "; ".join(decisions.failures) or "kept"
        self._log(f"int8 in {len(layers)} of {len(self._layers)} layers; decisions: {kept}")
        report = Quantization(
            scans=self._scans.count,
            source=self._scans.source,
            digest=self._scans.digest,
            random=self._scans.random,
            method=chosen.method,
            errors={str(name): error for name, error in chosen.errors.items()},
            layers=tuple(name for name in self._layers if name in layers),
            spared=found.spared if found.quantized else (),
            equalized=bool(scales.divisors),
            by_channel=tuple(name for name in self._layers if name in scales.by_channel),
            scale_trials=scales.tried if len(scales.tried) > 1 else {},
            effects=measured.layers,
            block_effects=measured.blocks,
            trials=found.tried,
        )
        return Int8(
            ranges=chosen.ranges,
            layers=layers,
            scales=scales,
            expected=self._plain.judging.logits({}, frozenset()),
            report=report,
            decisions=decisions.model_copy(
                update={"notes": (*decisions.notes, *search_notes(report))}
            ),
        )

    def _chosen(self, variant: _Variant, by_channel: Layers) -> tuple[Found, Sensitivity]:
        """Choose all layers if the decisions are kept then, else the most that keep them."""

        def failures(layers: Layers) -> tuple[str, ...]:
            return self._decisions(variant, layers, by_channel).failures

        every = frozenset(self._layers)
        failed = failures(every)
        measured = Sensitivity((), ())
        if self._search.sensitivity or failed:
            measured = sensitivity(
                self._layers,
                lambda layers: variant.few.error(variant.ranges, layers),
                seconds=self._search.seconds,
                log=self._log,
            )
        if not failed:
            return Found(every, (), {0: ()}), measured
        order = sparing_order(self._layers, measured)
        found = fewest_spared(order, failures, seconds=self._search.seconds, log=self._log)
        return found, measured

    def _decisions(self, variant: _Variant, layers: Layers, by_channel: Layers) -> Decisions:
        """Judge the decisions on the held-out scans; all but the first engine by `SEARCHED`."""
        held_out = self._held_out
        expected = self._plain.judging.logits({}, frozenset())
        got = variant.judging.logits(variant.ranges, layers, by_channel)
        first = variant is self._plain and layers == frozenset(self._layers) and not by_channel
        margins = MARGINS if first else SEARCHED
        return decide(
            expected,
            got,
            held_out.labels,
            held_out.source,
            margins,
            seen=held_out.seen,
            classes=held_out.classes,
        )
