"""See the wall clock being set, and the machine sleeping."""

from __future__ import annotations

import time
from typing import Final

_TRIES: Final = 3


class WallClock:
    """Follows the wall clock against the monotonic one, which nobody sets.

    Attributes:
        step_s: Largest step between two looks so far.
    """

    def __init__(self) -> None:
        self.step_s = 0.0
        self._ahead_s = ahead_s(time.CLOCK_REALTIME)

    def look(self) -> None:
        """Compare with the last look."""
        now_s = ahead_s(time.CLOCK_REALTIME)
        self.step_s = max(self.step_s, abs(now_s - self._ahead_s))
        self._ahead_s = now_s


def slept_s() -> float:
    """Return how long the machine has slept since its start.

    Raises:
        LookupError: This system does not say so.
    """
    if not hasattr(time, "CLOCK_BOOTTIME"):
        raise LookupError("CLOCK_BOOTTIME")
    return ahead_s(time.CLOCK_BOOTTIME)


def ahead_s(clock: int) -> float:
    """Return how far a clock is ahead of CLOCK_MONOTONIC.

    The two are read one after the other; of three tries the quickest counts.
    """
    tries = []
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        there = time.clock_gettime_ns(clock)
        took = time.monotonic_ns() - before
        tries.append((took, there - before - took // 2))
    return min(tries)[1] / 1e9
