"""Why nobody vouches for an engine: it runs where a person names it, and each result says so."""

from __future__ import annotations

from darnet_trt.bundle.manifest import Artifact

__all__ = ["disowned", "doubt", "failed_gates"]


def doubt(engine: Artifact) -> str | None:
    """Why an engine that ran must not answer unasked; None: it may."""
    if (why := disowned(engine)) is not None:
        return why
    if engine.decisions is not None and engine.decisions.reserves:
        return engine.decisions.reserves[0]
    return None


def disowned(engine: Artifact) -> str | None:
    """The doubts of an engine that no scans calibrated, or that failed a gate; None: neither."""
    if engine.quantization is not None and engine.quantization.random:
        return "calibrated with random numbers: only for its speed"
    if engine.accepted is not None:
        return f"{failed_gates(engine)[0]}; accepted by {engine.accepted}"
    return None


def failed_gates(engine: Artifact) -> tuple[str, ...]:
    """What the gates found of an engine that ran, a sentence each; none: it passed them."""
    found = list[str]()
    if engine.parity is not None and not engine.parity.passed:
        found.append("failed the parity gate")
    if engine.decisions is not None:
        found += engine.decisions.failures
    return tuple(found)
