"""The second gate of int8 engines: they must decide as the float32 engine does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import Artifact, Decisions, Quantization
from darnet_trt.bundle.trust import failed_gates
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.scans.choosing import HeldOut
from darnet_trt.calibration.search.sensitivity import search_notes
from darnet_trt.runtime.engines.runner import Runner, run

__all__ = ["DecisionGate"]


class DecisionGate:
    """Judge int8 engines on scans that did not calibrate them.

    Args:
        held_out: The scans.
        expected: Logits of the float32 network for these scans, (scans, classes), from the backend
            that ran the search; int8 engines of all backends are compared with them.
        quantization: How the CPU engines were calibrated; a plan brings its own.
        accept: Who takes an engine that fails a gate, and why; None: nobody does.
        log: Takes lines on each engine.
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
        """Return an int8 engine with its decisions; return any other engine unchanged."""
        if engine.effective_precision != "int8":
            return engine
        found = decide(
            self._expected,
            run(runner, self._held_out.inputs).logits,
            self._held_out.labels,
            self._held_out.source,
        )
        quantization = engine.quantization or self._quantization  # a plan has its own
        notes = (*found.notes, *search_notes(quantization.trials))
        found = found.model_copy(update={"notes": notes})
        judged = engine.model_copy(update={"decisions": found, "quantization": quantization})
        self._log(f"{engine.name}: {_verdict(found)}")
        if self._accept is None or not failed_gates(judged):
            return judged
        self._log(f"{engine.name}: accepted by {self._accept}")
        return judged.model_copy(update={"accepted": self._accept})


def _verdict(found: Decisions) -> str:
    if not found.passed:
        return f"failed the decision gate: {'; '.join(found.failures)}"
    if found.reserves:
        return f"passed the decision gate, but on too few scans to be sure: {found.source}"
    return f"passed the decision gate on {found.source}"
