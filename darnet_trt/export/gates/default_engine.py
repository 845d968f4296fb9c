"""Choose the default engine of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.trust import doubt, never_default

# Int8 must be this many times as fast as float; less is not worth its error.
_INT8_GAIN: Final = 1.05


def choose_default(
    timed: Sequence[Artifact], *, int8_asked_for: bool = False
) -> tuple[str | None, dict[str, str]]:
    """Choose the fastest engine; int8 only if it is proven and clearly faster than float.

    An int8 engine is proven if scans calibrated it, it passed both gates, and enough scans judged
    that it keeps the decisions. If int8 was asked for by name, few scans are enough; a warning
    with each result then says so.

    Args:
        timed: Engines with their latencies.
        int8_asked_for: The precision was named.

    Returns:
        The engine's name, None if no engine may be chosen automatically; and of the others that
        could have been chosen, name → why not.
    """
    against = never_default if int8_asked_for else doubt
    passed_over: dict[str, str] = {a.name: why for a in timed if (why := against(a)) is not None}
    fastest = sorted(
        (a for a in timed if a.name not in passed_over), key=lambda a: a.latency_ms or 0.0
    )
    in_float = [a for a in fastest if a.effective_precision != "int8"]
    if not fastest:
        return None, passed_over
    if not in_float or fastest[0] is in_float[0]:
        return fastest[0].name, passed_over
    gain = (in_float[0].latency_ms or 0.0) / (fastest[0].latency_ms or 1.0)
    if gain >= _INT8_GAIN:
        return fastest[0].name, passed_over
    slow = f"only {gain:.2f} times as fast as {in_float[0].name}"
    return in_float[0].name, {**passed_over, fastest[0].name: slow}
