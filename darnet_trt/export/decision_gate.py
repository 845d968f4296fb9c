"""The second gate of int8 engines: they must keep the float32 engine's decisions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from darnet_trt.calibration.data import HeldOut
from darnet_trt.calibration.decisions import decide
from darnet_trt.calibration.sensitivity import search_notes
from darnet_trt.export.parity import run
from darnet_trt.runtime.manifest import Artifact, Decisions, Quantization
from darnet_trt.runtime.runner import Runner

__all__ = ["DecisionGate"]


class DecisionGate:
    """Judges int8 engines on scans that did not calibrate them.

    Args:
        held_out: The scans.
        expected: The float32 engine's logits for them, (scans, classes).
        quantization: How the engines for the CPU were calibrated.
        accept: Who takes an engine that fails, and why; None takes none.
        log: Takes a line an engine.
    """

    def __init__(
        self,
        held_out: HeldOut,
        expected: npt.NDArray[np.float32],
        quantization: Quantization,
        accept: str | None,
        log: Callable[[str], None],
    ) -> None:
        self._held_out, self._expected = held_out, expected
        self._quantization, self._accept, self._log = quantization, accept, log

    def judged(self, engine: Artifact, runner: Runner) -> Artifact:
        """An int8 engine with what was found of its decisions; any other as it is."""
        if engine.effective_precision != "int8":
            return engine
        found = decide(
            self._expected,
            run(runner, self._held_out.inputs).logits,
            self._held_out.labels,
            self._held_out.source,
        )
        quantization = engine.quantization or self._quantization  # a plan has its own
        asked_before = search_notes(quantization.trials)
        found = found.model_copy(update={"notes": (*found.notes, *asked_before)})
        if not found.passed and self._accept is not None:
            found = found.model_copy(update={"accepted": self._accept})
        self._log(f"{engine.name}: {_verdict(found)}")
        return engine.model_copy(update={"decisions": found, "quantization": quantization})


def _verdict(found: Decisions) -> str:
    if found.passed:
        return f"keeps the decisions on {found.source}"
    failures = "; ".join(found.failures)
    if found.accepted is not None:
        return f"does not keep the decisions ({failures}), accepted by {found.accepted}"
    return f"does not keep the decisions: {failures}"
