"""Reasons an engine is never chosen automatically. It still runs when named, with a warning."""

from __future__ import annotations

from typing import Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.errors import Finding

CANNOT_FLAG: Final = (
    "this bundle cannot flag scans that are unlike the training scans: an older version made it, "
    "or training held no scans out"
)
"""Said of a bundle without `Manifest.familiarity`."""


def doubt(engine: Artifact) -> Finding | None:
    """Return why an engine that ran must not be chosen automatically; None: it may be."""
    if (why := never_default(engine)) is not None:
        return why
    if engine.decisions is not None and engine.decisions.reserves:
        return Finding("engine-little-tested", "; ".join(engine.decisions.reserves))
    return None


def never_default(engine: Artifact) -> Finding | None:
    """Return why an engine cannot be the default even if its precision was asked for.

    Either random numbers calibrated it or it failed a gate. None: neither.
    """
    if engine.quantization is not None and engine.quantization.random:
        what = "calibrated with random numbers: only for its speed"
        return Finding("engine-not-calibrated", what)
    if engine.accepted is not None:
        what = f"{failed_gates(engine)[0]}; accepted by {engine.accepted}"
        return Finding("engine-not-approved", what)
    return None


def failed_gates(engine: Artifact) -> tuple[str, ...]:
    """Return what failed in the gates, a sentence each; empty: the engine passed."""
    found = list[str]()
    if engine.parity is not None and not engine.parity.passed:
        found.append("failed the parity gate")
    if engine.decisions is not None:
        found += engine.decisions.failures
    return tuple(found)
