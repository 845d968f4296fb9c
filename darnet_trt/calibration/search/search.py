"""Find the ranges and the layers of an int8 network that keeps the float32 decisions.

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
from darnet_trt.calibration.qdq import Form, Range, convolutions, quantize, quantized_tensors
from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.search.sensitivity import (
    Found,
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
        expected: The float32 engine's logits for the held-out scans, (scans, classes).
        report: What the manifest says about the calibration.
        decisions: Those of the network with these layers quantized, run by the trials' backend.
    """

    ranges: Mapping[str, Range]
    layers: frozenset[str]
    expected: npt.NDArray[np.float32]
    report: Quantization
    decisions: Decisions

    def graph(self, model: ModelProto, form: Form) -> ModelProto:
        """Quantize the float32 or float16 graph."""
        return quantize(model, self.ranges, self.layers, form)

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
        self._form, self._found, self._scans = form, found, scans
        self._held_out, self._search = held_out, search
        self._layers = convolutions(model)
        subject = Subject(model, form, search.backend)
        few = scans.inputs[:_SELECTION_SCANS], scans.hashes[:_SELECTION_SCANS]
        self._few = Trials(subject, *few, search.threads)
        self._judging = Trials(subject, held_out.inputs, held_out.hashes, search.threads)
        self._unnamed_log = log

    def _log(self, line: str) -> None:
        self._unnamed_log(f"int8 for {_RUN_BY[self._form]}: {line}")

    def result(self) -> Int8:
        """Choose the method, then the layers, and judge the decisions."""
        asked, every = self._search.method, frozenset(self._layers)
        errors = {
            method: self._few.error(ranges_of(self._found, method, self._form), every)
            for method in (METHODS if asked == "auto" else (asked,))
        }
        method = min(errors, key=lambda name: errors[name])
        listed = ", ".join(f"{name} {error:.2g}" for name, error in errors.items())
        self._log(f"logits error by method: {listed}; ranges by {method}")
        ranges = ranges_of(self._found, method, self._form)
        found, measured = self._chosen(ranges)
        layers = found.quantized or every
        decisions = self._decisions(ranges, layers)
        kept = "; ".join(decisions.failures) or "kept"
        self._log(f"int8 in {len(layers)} of {len(self._layers)} layers; decisions: {kept}")
        notes = (*decisions.notes, *search_notes(found.tried))
        return Int8(
            ranges,
            layers,
            self._judging.logits(ranges, frozenset()),
            Quantization(
                scans=self._scans.count,
                source=self._scans.source,
                digest=self._scans.digest,
                random=self._scans.random,
                method=method,
                errors={str(name): error for name, error in errors.items()},
                layers=tuple(name for name in self._layers if name in layers),
                spared=found.spared if found.quantized else (),
                effects=measured.layers,
                block_effects=measured.blocks,
                trials=found.tried,
            ),
            decisions.model_copy(update={"notes": notes}),
        )

    def _chosen(self, ranges: Mapping[str, Range]) -> tuple[Found, Sensitivity]:
        """Choose all layers if the decisions are kept then, else the most that keep them."""

        def failures(layers: frozenset[str]) -> tuple[str, ...]:
            return self._decisions(ranges, layers).failures

        every = frozenset(self._layers)
        failed = failures(every)
        measured = Sensitivity((), ())
        if self._search.sensitivity or failed:
            measured = sensitivity(
                self._layers,
                lambda layers: self._few.error(ranges, layers),
                seconds=self._search.seconds,
                log=self._log,
            )
        if not failed:
            return Found(every, (), {0: ()}), measured
        order = sparing_order(self._layers, measured)
        found = fewest_spared(order, failures, seconds=self._search.seconds, log=self._log)
        return found, measured

    def _decisions(self, ranges: Mapping[str, Range], layers: frozenset[str]) -> Decisions:
        """Judge the decisions on the held-out scans."""
        held_out = self._held_out
        expected = self._judging.logits(ranges, frozenset())
        got = self._judging.logits(ranges, layers)
        return decide(expected, got, held_out.labels, held_out.source, seen=held_out.seen)
