"""Decide while measuring whether a configuration is slower than a stored measurement of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from darnet_trt.errors import UsageError, counted
from darnet_trt.runtime.bench.regression.baseline import StoredLatencies
from darnet_trt.runtime.bench.regression.yardstick import YARDSTICK
from darnet_trt.runtime.bench.report.schema import Comparison, Estimate
from darnet_trt.runtime.bench.statistics.decision import SequentialTest, error_spent
from darnet_trt.runtime.bench.statistics.undisturbed import (
    UndisturbedRatio,
    queries_needed,
    queries_worth,
)
from darnet_trt.runtime.bench.subject import Trace

LOOKS: Final = (0.4, 0.7, 1.0)
"""Parts of the time after which it is looked whether the answer is known; many cost power."""
NEEDED: Final = queries_needed(2 * (error_spent(LOOKS[-1]) - error_spent(LOOKS[-2])))
"""Independent queries that the last look takes."""


class Guard:
    """Compare a configuration's latencies with stored ones; `look` is for `in_turns`.

    Args:
        subject: Its name in the traces; the yardstick is among them, too.
        before: The stored latencies.
        limit: Slower is a ratio above it, as 1.05.

    Attributes:
        verdict: "above": slower. "below": not slower. None: the time was too short to tell.
        ratio: The time now over the time before, as of the last look; None before the first.

    Raises:
        UsageError: The stored latencies are too few for an answer, however many come now.
    """

    def __init__(self, subject: str, before: StoredLatencies, limit: float) -> None:
        worth = min(map(queries_worth, filter(None, before)))
        if worth < NEEDED:
            raise UsageError(
                f"its queries are worth {counted(worth, 'independent one')}, and an answer takes "
                f"{NEEDED}",
                where="--baseline",
                do="measure it again with more --seconds",
            )
        self._subject, self._before = subject, before
        self._test = SequentialTest(limit)
        self._looks = list(LOOKS)
        self.verdict: Literal["above", "below"] | None = None
        self.ratio: UndisturbedRatio | None = None

    def look(self, traces: Mapping[str, Trace], passed: float) -> bool:
        """Look if it is time to; return whether the answer is known.

        Args:
            traces: Name → trace, of all rounds so far.
            passed: The part of the time that has passed, 0 to 1.
        """
        if not self._looks or passed < self._looks[0]:
            return False
        self._looks = [part for part in self._looks if part > passed]
        numerators: list[Sequence[float]] = [traces[self._subject].latencies_ms]
        denominators: list[Sequence[float]] = [self._before.ms]
        if self._before.yardstick_ms is not None:
            numerators.append(self._before.yardstick_ms)
            denominators.append(traces[YARDSTICK].latencies_ms)
        self.ratio = UndisturbedRatio(numerators, denominators)
        self.verdict = self._test.look(self.ratio, passed)
        return self.verdict is not None

    def comparison(self, file: str) -> Comparison:
        """Return what was found, for the report; `file` is where the baseline is stored."""
        ratio = None
        if self.ratio is not None:
            low, high = self.ratio.interval() or (None, None)
            ratio = Estimate(value=self.ratio.value, low=low, high=high)
        return Comparison(
            file=file,
            fail_above=self._test.limit,
            verdict=self.verdict,
            ratio=ratio,
        )
