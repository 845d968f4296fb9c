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
"""`Guard` looks for an answer after these parts of the time. More looks cost power."""
NEEDED: Final = queries_needed(2 * (error_spent(LOOKS[-1]) - error_spent(LOOKS[-2])))
"""Independent queries that the last look needs, of each run."""


def refuse_too_few(before: StoredLatencies) -> None:
    """Refuse a baseline from which no answer can come.

    Raises:
        UsageError: Its queries are too few.
    """
    worth = min(queries_worth(times) for times in before if times is not None)
    if worth < NEEDED:
        raise UsageError(
            f"has too few queries: they are worth {counted(worth, 'independent one')}, and an "
            f"answer takes {NEEDED}",
            where="--baseline",
            do="measure it again, and longer",
        )


class Guard:
    """Compare a configuration's latencies with stored ones; `look` is for `in_turns`.

    Args:
        subject: Its name in the traces; the yardstick is among them, too.
        before: The stored latencies.
        limit: Slower is a ratio above it, as 1.05.

    Attributes:
        verdict: "above": slower. "below": not slower. None: the time was too short to tell.
        ratio: The time now over the time before, as of the last look; None before the first.
        interval: Of the ratio, 95 %; while the verdict is None the wider one of the last look. None
            where the queries were too few for that.
    """

    def __init__(self, subject: str, before: StoredLatencies, limit: float) -> None:
        self._subject, self._before = subject, before
        self._test = SequentialTest(limit)
        self._looks = list(LOOKS)
        self.verdict: Literal["above", "below"] | None = None
        self.ratio: UndisturbedRatio | None = None
        self.interval: tuple[float, float] | None = None

    def look(self, traces: Mapping[str, Trace], passed: float) -> bool:
        """Look if it is time to; return whether the answer is known.

        Args:
            traces: Name → trace, of all rounds so far.
            passed: The part of the time that has passed, 0 to 1.
        """
        if not self._looks or passed < self._looks[0]:
            return False
        due = max(part for part in self._looks if part <= passed)
        self._looks = [part for part in self._looks if part > due]
        numerators: list[Sequence[float]] = [traces[self._subject].latencies_ms]
        denominators: list[Sequence[float]] = [self._before.ms]
        if self._before.yardstick_ms is not None:
            numerators.append(self._before.yardstick_ms)
            denominators.append(traces[YARDSTICK].latencies_ms)
        self.ratio = UndisturbedRatio(numerators, denominators)
        # A look that comes late spends no more than it would have: the last one needs the rest.
        self.verdict = self._test.look(self.ratio, due)
        self.interval = self.ratio.interval() if self.verdict else self._test.interval
        return self.verdict is not None

    def comparison(self, file: str) -> Comparison:
        """Return what was found, for the report; `file` is where the baseline is stored."""
        ratio = None
        if self.ratio is not None:
            low, high = self.interval or (None, None)
            ratio = Estimate(value=self.ratio.value, low=low, high=high)
        return Comparison(
            file=file,
            fail_above=self._test.limit,
            verdict=self.verdict,
            ratio=ratio,
        )
