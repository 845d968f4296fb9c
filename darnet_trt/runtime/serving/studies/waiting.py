"""The studies that are not finished: who waits for slices, who for the engine, and how many may.

Nobody can know that a study is complete. It counts as complete when nothing of it came for a quiet
time; a part of that is enough where its own numbers say that nothing is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from darnet_trt.errors import BusyError
from darnet_trt.runtime.serving.settings import Settings

SHORTER: Final = 4
"""A study that lacks nothing by its own numbers waits this part of the quiet time. Judgement."""
ADMITTED_S: Final = 60.0
"""How long a place is kept for a study of which nothing has come yet."""
_LOOKS: Final = 10
"""A look that finds slices missing is followed by a pause of so many times its own length."""
_LEARN: Final = 0.2  # weight of the newest time between two results, while more wait
LONGEST_TRY_S: Final = 60.0
"""Longest pause between two tries."""
_ALONE: Final = 2  # times that a study failed

Clock = Callable[[], float]


@dataclass
class Open:
    """A study that is not finished. Times are the clock's, but `first` and `last`.

    Attributes:
        study: Its name.
        first: When its first file came, in seconds since 1970.
        last: When its last one came.
        since: When its last one came.
        quiet_s: How long it must be quiet.
        arrivals: How many files have come since it was opened.
        whole: Whether nothing more is to come.
        missing: Whether it lacks slices by its own numbers; None: it was not looked at since.
        taken: Whether it is in the pipeline.
        look_after: No look before.
        try_after: No try before, after one that failed.
        tries: How many failed.
        error: Why the last one did.
    """

    study: str
    first: float
    last: float
    since: float
    quiet_s: float
    arrivals: int = 0
    whole: bool = False
    missing: bool | None = None
    taken: bool = False
    look_after: float = 0.0
    try_after: float = 0.0
    tries: int = 0
    error: str = ""


class Waiting:
    """The studies that are not finished. Its callers keep it from use by two threads at once.

    Args:
        settings: Of the service.
        clock: Seconds.
    """

    def __init__(self, settings: Settings, clock: Clock = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        peers = settings.dicom.peers if settings.dicom else ()
        self._quiet_s = {peer.ae: peer.quiet_s for peer in peers if peer.quiet_s is not None}
        self._open: dict[str, Open] = {}
        self._each_s = 1.0
        self._last_done: float | None = None
        self._promised = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def get(self, study: str) -> Open | None:
        """Return a study; None where it is finished, or not known."""
        return self._open.get(study)

    def all(self) -> list[Open]:
        """Return all, in the order in which they were opened."""
        return list(self._open.values())

    def admit(self, study: str, times: tuple[float, float] | None) -> None:
        """Keep a place for a study.

        Args:
            study: Its name.
            times: When its first and its last file came; None: none has come.

        Raises:
            BusyError: There is none. It says when there will be one.
        """
        if study in self._open:
            return
        if len(self._open) >= self._settings.studies:
            self.sweep()
        if len(self._open) >= self._settings.studies:
            text = f"{len(self._open):,} studies wait already"
            raise BusyError(text, retry_after_s=self._next_place_s())
        self._add(study, times)

    def _add(self, study: str, times: tuple[float, float] | None, quiet_s: float = 0.0) -> Open:
        now = time.time()
        first, last = times or (now, now)
        self._open[study] = Open(study, first, last, self._clock(), quiet_s)
        return self._open[study]

    def _next_place_s(self) -> float:
        """Return in how many seconds a place will be free that nobody else was told of."""
        now = self._clock()
        soonest = now
        if not any(each.taken for each in self._open.values()):
            soonest = max(now, min(map(self.due, self._open.values())))
        self._promised = max(soonest, self._promised) + self._each_s
        return self._promised - now

    def arrived(self, study: str, peer: str, times: tuple[float, float] | None) -> None:
        """Note that a file of a study has come.

        Args:
            study: Its name.
            peer: Who sent it.
            times: As of `admit`.
        """
        each = self._open.get(study) or self._add(study, times)
        each.arrivals += 1
        each.since, each.last = self._clock(), time.time()
        each.quiet_s = max(each.quiet_s, self._quiet_s.get(peer, self._settings.quiet_s))
        each.missing, each.whole = None, False

    def resume(self, study: str, times: tuple[float, float]) -> None:
        """Open a study that an earlier run left: it waits for the shortest quiet time.

        Args:
            study: Its name.
            times: As of `admit`.
        """
        self._add(study, times, self._settings.shortest_quiet_s).arrivals = 1

    def whole(self, study: str) -> None:
        """Note that nothing more of a study is to come, unless something comes."""
        if (each := self._open.get(study)) is not None:
            each.whole = True

    def forget(self, study: str) -> None:
        """Give back the place of a study of which nothing new came."""
        each = self._open.get(study)
        if each is not None and not each.arrivals and not each.taken:
            del self._open[study]

    def sweep(self) -> None:
        """Give back the places that were kept for studies of which nothing came."""
        old = self._clock() - ADMITTED_S
        for each in [e for e in self._open.values() if not e.arrivals and e.since < old]:
            del self._open[each.study]

    def due(self, each: Open) -> float:
        """Return when a study is to be looked at."""
        if not each.arrivals:
            return each.since + ADMITTED_S
        latest = each.since + each.quiet_s
        due = latest
        if each.whole:
            due = each.since
        elif not each.missing:
            shortest = max(each.quiet_s / SHORTER, self._settings.shortest_quiet_s)
            due = min(max(each.since + shortest, each.look_after), latest)
        return max(due, each.try_after)

    def next_in_s(self) -> float | None:
        """Return in how many seconds a study is to be looked at; None: none is."""
        if self._tries_one():
            return None
        others = any(e.taken for e in self._open.values())
        due = [
            self.due(e)
            for e in self._open.values()
            if e.arrivals and not e.taken and not (others and e.tries >= _ALONE)
        ]
        return max(min(due) - self._clock(), 0.0) if due else None

    def take(self, most: int) -> list[Open]:
        """Return studies that are due; they count as taken.

        Those that wait longest come first. One that failed twice runs alone, after all others: it
        may be what breaks the engine.
        """
        if self._tries_one():
            return []
        now = self._clock()
        due = [e for e in self._open.values() if e.arrivals and not e.taken and self.due(e) <= now]
        due.sort(key=self.due)
        first = [e for e in due if e.tries < _ALONE][:most]
        if not first and not any(e.taken for e in self._open.values()):
            first = due[:1]
        for each in first:
            each.taken = True
        return first

    def _tries_one(self) -> bool:
        return any(e.taken and e.tries >= _ALONE for e in self._open.values())

    def busy(self, until: float) -> bool:
        """Return whether a study is in the pipeline, or due until a time."""
        return any(e.taken or (e.arrivals and self.due(e) < until) for e in self._open.values())

    def is_late(self, each: Open) -> bool:
        """Return whether a study waits no longer for slices, whatever it lacks."""
        return each.whole or self._clock() >= each.since + each.quiet_s

    def go_on(self, each: Open, arrivals: int, look_s: float) -> None:
        """Let a study wait for more.

        Args:
            each: The study.
            arrivals: How many files had come when it was looked at: what came since may be all
                that was missing then.
            look_s: How long the look took.
        """
        each.taken = False
        each.missing = True if each.arrivals == arrivals else None
        each.look_after = self._clock() + _LOOKS * look_s

    def failed(self, study: str, why: str, longest_s: float = LONGEST_TRY_S) -> None:
        """Have a study tried again, after a pause that grows with each try.

        Args:
            study: Its name.
            why: What went wrong.
            longest_s: Of the pause.
        """
        each = self._open[study]
        each.taken, each.error = False, why
        each.try_after = self._clock() + min(2.0 ** min(each.tries, 20), longest_s)
        each.tries += 1

    def done(self, study: str, arrivals: int) -> None:
        """Note that a study has results; it stays open where more has come since.

        Args:
            study: Its name.
            arrivals: How many files had come when it was looked at.
        """
        now = self._clock()
        each, full = self._open[study], len(self._open) >= self._settings.studies
        if each.arrivals == arrivals:
            del self._open[study]
        else:
            each.taken, each.tries, each.error = False, 0, ""
        if self._last_done is not None and (full or any(e.taken for e in self._open.values())):
            self._each_s += _LEARN * (now - self._last_done - self._each_s)
        self._last_done = now

    def ahead(self, each: Open) -> int:
        """Return how many studies are classified before one that is due."""
        if each.taken:
            return 0
        own, now = self.due(each), self._clock()
        others = (e for e in self._open.values() if e is not each and e.arrivals)
        return sum(e.taken or (self.due(e) <= now and self.due(e) < own) for e in others)

    def wait_s(self, each: Open) -> float:
        """Return the seconds until a study is complete, or estimated until it has a result."""
        left = self.due(each) - self._clock()
        return left if left > 0 and not each.taken else (self.ahead(each) + 1) * self._each_s
