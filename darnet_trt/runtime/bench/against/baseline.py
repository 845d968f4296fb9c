"""Decide while measuring whether a subject is slower than a stored measurement of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from darnet_trt.runtime.bench.against.yardstick import YARDSTICK, in_yardsticks
from darnet_trt.runtime.bench.statistics.decision import SequentialTest
from darnet_trt.runtime.bench.statistics.ratios import Ratio, unpaired_ratio
from darnet_trt.runtime.bench.subject import Trace

LOOKS: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Parts of the time after which it is looked whether the answer is known; many cost power."""


class Guard:
    """Compare a subject's turns, in yardsticks, with stored ones; `look` is for `in_turns`.

    Args:
        subject: Its name in the traces; the yardstick is among them, too.
        before: The stored turns, in yardsticks.
        limit: Slower is a ratio above it, as 1.05.

    Attributes:
        verdict: "above": slower. "below": not slower. None: the time was too short to tell.
        ratio: The time now over the time before, as of the last look; None before the first.
    """

    def __init__(self, subject: str, before: Sequence[float], limit: float) -> None:
        self._subject, self._before = subject, before
        self._test = SequentialTest(limit)
        self._looks = list(LOOKS)
        self.verdict: Literal["above", "below"] | None = None
        self.ratio: Ratio | None = None

    def look(self, traces: Mapping[str, Trace], passed: float) -> bool:
        """Look if it is time to; return whether the answer is known.

        Args:
            traces: Name → trace, of all rounds so far.
            passed: The part of the time that has passed, 0 to 1.
        """
        if passed < self._looks[0]:
            return False
        self._looks = [part for part in self._looks if part > passed] or [2.0]
        now = in_yardsticks(traces[self._subject], traces[YARDSTICK])
        self.ratio = unpaired_ratio(self._before, now.tolist())
        self.verdict = self._test.look(self.ratio, passed)
        return self.verdict is not None
