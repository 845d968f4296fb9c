"""Which engine of a bundle answers where nobody chose one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.trust import disowned, doubt

__all__ = ["Choice", "choose_default"]

# Less speed than this is not worth a change of numbers.
_INT8_GAIN: Final = 1.05


@dataclass(frozen=True)
class Choice:
    """What answers, and why others do not.

    Attributes:
        name: The engine's; None where none may answer unasked.
        passed_over: Engine → why it does not: nobody vouches for it, or it is hardly faster.
    """

    name: str | None
    passed_over: dict[str, str]


def choose_default(timed: Sequence[Artifact], *, int8_asked_for: bool = False) -> Choice:
    """The fastest; of int8 only what is proven, and so much faster as to be worth its error.

    Proven: scans calibrated it, it passed both gates, and the scans that judged it are enough to
    show that decisions are kept. Who asks for int8 by name has it without the last: its results
    say that few scans judged it.

    Args:
        timed: Engines with their latencies.
        int8_asked_for: Somebody named the precision.
    """
    against = disowned if int8_asked_for else doubt
    passed_over = {a.name: why for a in timed if (why := against(a)) is not None}
    fastest = sorted(
        (a for a in timed if a.name not in passed_over), key=lambda a: a.latency_ms or 0.0
    )
    in_float = [a for a in fastest if a.effective_precision != "int8"]
    if not fastest:
        return Choice(None, passed_over)
    if not in_float or fastest[0] is in_float[0]:
        return Choice(fastest[0].name, passed_over)
    gain = (in_float[0].latency_ms or 0.0) / (fastest[0].latency_ms or 1.0)
    if gain >= _INT8_GAIN:
        return Choice(fastest[0].name, passed_over)
    slow = f"only {gain:.2f} times as fast as {in_float[0].name}"
    return Choice(in_float[0].name, {**passed_over, fastest[0].name: slow})
