"""Tell how far a run of `predict` is, and what it did: on a terminal, in a log, in cron's mail."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from darnet_trt.cli.predict_output import summary
from darnet_trt.cli.printing import say
from darnet_trt.cli.progress import duration

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.result import Result
    from darnet_trt.scan.discovery import Counts
    from darnet_trt.scan.discovery.places import Place

RATE_S: Final = 60.0
"""Seconds between two lines that say how fast the run is."""
_REASONS: Final = 5  # that the tally names


class RunProgress:
    """Counts what a run did.

    Args:
        walked: Returns how many files the walk has passed.
        clock: Seconds.
    """

    def __init__(
        self, walked: Callable[[], int] = lambda: 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._walked, self._clock = walked, clock
        self._started = self._said = clock()
        self._files = 0
        self._found, self._all_found = 0, False
        self._statuses: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._doubtful = 0
        self._counts: list[Counts] = []

    def count_files(self, places: Sequence[Place]) -> None:
        """Count the places' files in another thread, to tell about how many studies will come."""
        from darnet_trt.scan.discovery.walk import count_files

        def count() -> None:
            self._files = sum(map(count_files, places))

        threading.Thread(target=count, name="count", daemon=True).start()

    def found(self, studies: int, all_found: bool) -> None:
        """Take how many studies were found so far, and whether these are all."""
        self._found, self._all_found = studies, all_found

    def counted(self, counts: Counts) -> None:
        """Take what became of some files."""
        self._counts.append(counts)
        if len(self._counts) > 100:
            from darnet_trt.scan.discovery import Counts

            self._counts = [sum(self._counts, start=Counts())]

    def add(self, result: Result, *, told: bool) -> None:
        """Count a result, and say how far the run is.

        Args:
            result: The result.
            told: Whether it was printed already.
        """
        self._statuses[result.status] += 1
        self._doubtful += result.undecided
        if result.code:
            self._codes[result.code] += 1
        if not told:
            first, *warnings = summary(result)
            say(f"[{self._of()}] {first}")
            for warning in warnings:
                say(warning)
        now = self._clock()
        if now - self._said >= RATE_S:
            self._said = now
            say(self._rate(now))

    @property
    def done(self) -> int:
        """Return how many results there are."""
        return self._statuses.total()

    def failed(self, *, refused_too: bool) -> bool:
        """Return whether a study failed, or was refused where that counts as a failure."""
        return bool(self._statuses["failed"] or (refused_too and self._statuses["refused"]))

    def report(self, where: str | None, done: int) -> list[str]:
        """Return what a person wants to know in the morning, before the tally.

        Args:
            where: The line that says where the results are.
            done: How many studies were finished before.
        """
        from darnet_trt.scan.discovery import Counts

        counts = sum(self._counts, start=Counts())
        lines = [str(counts)] if counts else []
        if done:
            lines.append(f"already done: {done:,} stud{'y' if done == 1 else 'ies'}")
        if self._codes:
            most = self._codes.most_common(_REASONS)
            others = self._codes.total() - sum(count for _, count in most)
            named = [f"{count} {code}" for code, count in most]
            lines.append(f"reasons: {', '.join(named + [f'{others} others'] * bool(others))}")
        if self.done > 1:
            spent = self._clock() - self._started
            lines.append(f"took {duration(spent)}: {self.done / spent * 3600:,.0f} studies/hour")
        return lines + ([where] if where else [])

    def tally(self) -> str:
        """Return how many studies there were, of each status."""
        if not self.done:
            return "nothing left to do"
        doubt = f" ({self._doubtful} undecided)" if self._doubtful else ""
        notes = {"ok": doubt, "refused": "", "failed": ""}
        listed = [
            f"{self._statuses[s]} {s}{note}" for s, note in notes.items() if self._statuses[s]
        ]
        return f"{self.done} scan{'s' * (self.done != 1)}: {', '.join(listed)}"

    def _total(self) -> tuple[int, bool]:
        """Return how many studies the run will have, and whether that is sure; 0: not known."""
        if self._all_found:
            return self._found, True
        walked = self._walked()
        if not self._files or not walked:
            return 0, False
        return max(self._found, round(self._found * self._files / walked)), False

    def _of(self) -> str:
        total, sure = self._total()
        if not total:
            return f"{self.done}"
        return f"{self.done}/{total}" if sure else f"{self.done}/about {total}"

    def _rate(self, now: float) -> str:
        """Return how fast the run is, how long it will take, and in a log the time of day."""
        per_s = self.done / max(now - self._started, 1e-9)
        total, _ = self._total()
        left = f", about {duration((total - self.done) / per_s)} left" if total > self.done else ""
        day = "" if sys.stderr.isatty() else f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} "
        return f"{day}{per_s * 3600:,.0f} studies/hour{left}"
