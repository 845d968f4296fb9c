"""Decide whether a ratio lies above or below a limit, looking several times while measuring.

Who looks often and stops at the first interval on one side is wrong more often than the interval
says. So the looks share the permitted error: until a part t of the time has passed, they may have
spent 2 - 2 Phi(z / sqrt(t)) of it (Lan and DeMets, Biometrika 70, 1983, 659-663, after O'Brien and
Fleming): little early, most of it at the end. Each look tests with what was added since the last;
their errors add up to no more than the whole, whatever the looks have in common.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, Literal, Protocol

ALPHA: Final = 0.025
"""Share of wrong answers: "above" of a ratio at or below the limit, or "below" of one above it."""

_NORMAL: Final = NormalDist()


class Ratio(Protocol):
    """A ratio that knows how sure it is."""

    def interval(self, alpha: float) -> tuple[float, float] | None:
        """Return the ends, which miss the true ratio in `alpha` of cases; None: too few samples."""
        ...


class SequentialTest:
    """Look at a ratio several times while it is measured, with the error of a single look.

    Few looks are better than many: each takes its part of the error. Three or four will do.

    Args:
        limit: A ratio above it is "above", as 1.05.

    Attributes:
        interval: The one of the last look; None where the samples gave none.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.interval: tuple[float, float] | None = None
        self._spent = 0.0

    def look(self, ratio: Ratio, passed: float) -> Literal["above", "below"] | None:
        """Decide if the samples so far can.

        Args:
            ratio: Of all samples so far.
            passed: Part of the time that has passed, 0 to 1.

        Returns:
            None where the interval holds the limit: measure on, or say that the time was too short.
        """
        allowed = error_spent(passed)
        added, self._spent = allowed - self._spent, allowed
        self.interval = ratio.interval(2 * added) if added > 0 else None
        if self.interval is None:
            return None
        low, high = self.interval
        if low > self.limit:
            return "above"
        return "below" if high < self.limit else None


def error_spent(passed: float) -> float:
    """Return how much of the error the looks may have spent when a part of the time has passed."""
    if passed <= 0:
        return 0.0
    score = _NORMAL.inv_cdf(1 - ALPHA / 2) / math.sqrt(min(passed, 1.0))
    return 2 * _NORMAL.cdf(-score)
