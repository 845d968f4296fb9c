"""The second gate of int8 engines: they must decide as the float32 engine does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from darnet_trt.bundle.manifest import Artifact, Decisions
from darnet_trt.bundle.trust import failed_gates
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.decisions.margins import limits_after
from darnet_trt.calibration.search.search import Int8
from darnet_trt.calibration.search.sensitivity import search_notes, ways_tried
from darnet_trt.export.context import Calibration
from darnet_trt.runtime.engines.runner import Runner, run


@dataclass(frozen=True, eq=False)
class DecisionGate:
    """Judge int8 engines on scans that did not calibrate them.

    Attributes:
        calibration: Holds the scans, and who takes an engine that fails a gate.
        searched: How the CPU engines were calibrated, and the float32 network's logits for these
            scans, from the backend that ran the search. Int8 engines of all backends are compared
            with these logits; a plan brings its own report.
        log: Takes lines on each engine.
    """

    calibration: Calibration
    searched: Int8
    log: Callable[[str], None]

    def judged(self, engine: Artifact, runner: Runner) -> Artifact:
        """Return an int8 engine with its decisions; return any other engine unchanged."""
        if engine.effective_precision != "int8":
            return engine
        held_out, accept = self.calibration.held_out, self.calibration.accept
        logits = run(runner, held_out.inputs).logits
        quantization = engine.quantization or self.searched.report
        margins = limits_after(ways_tried(quantization))
        found = decide(
            self.searched.expected,
            logits,
            held_out.labels,
            held_out.source,
            margins,
            seen=held_out.seen,
            classes=held_out.classes,
        )
        notes = (*found.notes, *search_notes(quantization))
        found = found.model_copy(update={"notes": notes})
        judged = engine.model_copy(update={"decisions": found, "quantization": quantization})
        self.log(f"{engine.name}: {_verdict(found)}")
        if accept is None or not failed_gates(judged):
            return judged
        self.log(f"{engine.name}: accepted by {accept}")
        return judged.model_copy(update={"accepted": accept})


def _verdict(found: Decisions) -> str:
    if not found.passed:
        return f"failed the decision gate: {'; '.join(found.failures)}"
    if found.reserves:
        return f"passed the decision gate, but with a reserve, on {found.judges}"
    return f"passed the decision gate on {found.judges}"
