"""Decide at once which request may wait for the engine, and when the others are to come again.

What waits is bounded by volumes and bytes. A request whose deadline cannot be met is refused when
it comes, and so is one that would make another miss its own. Whoever is refused gets a ticket: the
engine's time for it is reserved behind all that waits and all that was promised before. So under
any load the engine's time is given away once, in the order of the first tries, and enough waits
that the engine is never idle for a holder who is late.

It knows no threads and no clock: every call says what time it is (seconds of `time.monotonic`).
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from darnet_trt.errors import BusyError, Finding, UsageError
from darnet_trt.runtime.serving.engine.pace import Pace
from darnet_trt.runtime.serving.engine.tickets import EARLY_S, Ticket, Tickets

FULL: Final = Finding("queue-full", "the queue is full")
TOO_LATE: Final = Finding("deadline", "the deadline cannot be met")
PROMISED: Final = Finding("promised", "the places of the queue are kept for others")
_RESERVE: Final = 1.25
"""A request is taken if its deadline were met by an engine slower than estimated by this factor."""
_FILL: Final = 0.6
"""Share of the queue that holders of tickets find filled when they come: the rest takes those who
come early or late, and what the estimate is wrong by."""
_LOW: Final = 0.5
"""Share of that below which others are taken, so that the engine does not wait for who is late."""
_PATIENCE_S: Final = 60.0
"""A request without a deadline is ordered as if it had this one, so that its turn comes."""


@dataclass(eq=False)
class Place:
    """A request that waits.

    Attributes:
        volumes: How many of its volumes the engine has not begun.
        size: Bytes of all its volumes.
        deadline: When its answer must be there; None: at any time.
        due: What it is ordered by.
        came: When it was taken.
    """

    volumes: int
    size: int
    deadline: float | None
    due: float
    came: float


class Admission:
    """What waits for the engine, earliest deadline first.

    Args:
        volumes: Most volumes that wait.
        size: Most bytes of them.
        pace: The engine's.

    Attributes:
        waiting: Those who wait, in their order.
        tickets: The places that are kept.
        busy_until: When the engine is expected to be free of what it has begun.
    """

    def __init__(self, volumes: int, size: int, pace: Pace) -> None:
        self.waiting: list[Place] = []
        self.tickets = Tickets()
        self.busy_until = 0.0
        self._volumes, self._size, self._pace = volumes, size, pace

    @property
    def volumes(self) -> int:
        """Return how many volumes wait."""
        return sum(place.volumes for place in self.waiting)

    @property
    def size(self) -> int:
        """Return how many bytes wait."""
        return sum(place.size for place in self.waiting)

    def admit(
        self, now: float, volumes: int, size: int, deadline: float | None, ticket: str = ""
    ) -> Place:
        """Take a request.

        Args:
            now: The time.
            volumes: How many it has.
            size: Their bytes.
            deadline: When its answer must be there.
            ticket: What it got when it was refused.

        Raises:
            BusyError: It cannot be taken now; says when.
            UsageError: It never can.
        """
        self._refuse_what_never_fits(volumes, size)
        known = self.tickets.outstanding(now)
        shown = self.tickets.get(ticket)
        if shown is not None and volumes > shown.volumes:
            shown = None
        due = now + _PATIENCE_S if deadline is None else deadline
        place = Place(volumes, size, deadline, due, now)
        its_time = shown is not None and now >= shown.come_s - EARLY_S
        if (why := self._hindrance(now, place, () if its_time else known)) is not None:
            raise self._refusal(now, place, why, shown)
        self.tickets.remove(ticket)
        insort(self.waiting, place, key=lambda each: each.due)
        return place

    def remove(self, place: Place) -> None:
        """Take a request out, if it still waits."""
        if place in self.waiting:
            self.waiting.remove(place)

    def put_back(self, place: Place, volumes: int) -> None:
        """Let volumes wait again that the engine had begun."""
        self.remove(place)
        place.volumes += volumes
        insort(self.waiting, place, key=lambda each: each.due)

    def expected_s(self, now: float, volumes: int) -> float:
        """Return in how many seconds so many volumes would be done if they came now."""
        return max(self.busy_until - now, 0.0) + (self.volumes + volumes) * self._pace.volume_s

    def too_late(self, now: float) -> list[Place]:
        """Return those whose deadlines pass before the engine can be done with them."""
        least_s = min(self._pace.least_s, self._pace.volume_s)
        return [
            place
            for place in self.waiting
            if place.deadline is not None and now + place.volumes * least_s > place.deadline
        ]

    def _refuse_what_never_fits(self, volumes: int, size: int) -> None:
        if volumes > self._volumes:
            limit = f"has {volumes} volumes; at most {self._volumes} are taken"
        elif size > self._size:
            limit = f"has {size} bytes; at most {self._size} are taken"
        else:
            return
        raise UsageError(f"the request {limit}", do="send it in parts")

    def _hindrance(self, now: float, new: Place, before: Sequence[Ticket]) -> Finding | None:
        """Return why a request cannot be taken now.

        Args:
            now: The time.
            new: The request.
            before: The tickets that come before it.
        """
        if self.volumes + new.volumes > self._volumes or self.size + new.size > self._size:
            return FULL
        if not self._in_time(now, new):
            return TOO_LATE
        return PROMISED if before and self._is_promised(now, new.volumes, before) else None

    def _in_time(self, now: float, new: Place) -> bool:
        """Return whether a request's deadline, and those after it, would be met."""
        at = max(self.busy_until, now)
        if not self.waiting and at == now and new.deadline is not None:
            # An idle engine shows how fast it is; or an estimate that is too slow would stay.
            return now + new.volumes * self._pace.least_s <= new.deadline
        order = [*self.waiting]
        insort(order, new, key=lambda each: each.due)
        seen = False
        for place in order:
            at += place.volumes * self._pace.volume_s * _RESERVE
            seen = seen or place is new
            if seen and place.deadline is not None and at > place.deadline:
                return False
        return True

    def _is_promised(self, now: float, volumes: int, tickets: Sequence[Ticket]) -> bool:
        """Return whether a request would delay a holder of a ticket.

        Holders who are late hold nothing up: where less waits than half of what the next was to
        find, others are taken.
        """
        each_s = self._pace.volume_s
        waits_s = (self.volumes + volumes) * each_s
        if waits_s <= _LOW * (tickets[0].begin_s - tickets[0].come_s) or not self.waiting:
            return False
        at = max(self.busy_until, now) + waits_s
        for ticket in tickets:
            if at > ticket.begin_s:
                return True
            at += ticket.volumes * each_s
        return False

    def _refusal(self, now: float, new: Place, why: Finding, shown: Ticket | None) -> BusyError:
        """Return what a request is refused with: the time to come again, and a ticket for it.

        Args:
            now: The time.
            new: The request.
            why: Why it is refused.
            shown: The ticket that it came with.
        """
        each_s = self._pace.volume_s
        own_s = new.volumes * each_s
        within_s = math.inf if new.deadline is None else new.deadline - now
        if within_s < own_s * _RESERVE:
            what = Finding(TOO_LATE.code, f"{TOO_LATE}: the engine needs {own_s:.2g} s")
            return BusyError(what, retry_after_s=self.expected_s(now, new.volumes))
        if shown is not None and now < shown.come_s - EARLY_S:
            return BusyError(why, retry_after_s=shown.come_s - now, ticket=shown.name)
        begin_s = max(self.busy_until, now) + self.volumes * each_s
        if shown is not None:  # it comes again: as soon as there is a place
            self.tickets.remove(shown.name)
        else:
            begin_s = self._behind(self.tickets.outstanding(now), begin_s)
        come_s = max(begin_s - self._lead_s(new, within_s), now + each_s)
        ticket = self.tickets.issue(now, come_s, max(begin_s, come_s), new.volumes)
        name = "" if ticket is None else ticket.name
        return BusyError(why, retry_after_s=come_s - now, ticket=name)

    def _behind(self, known: Sequence[Ticket], free_s: float) -> float:
        """Return when the engine can begin after all it has promised.

        Args:
            known: The tickets, in order.
            free_s: When it is done with what waits.
        """
        if not known:
            return free_s
        each_s = self._pace.volume_s
        last = known[-1]
        behind_s = last.begin_s + last.volumes * each_s
        # What the estimate now says of all together is uncertain by more than a place. So each
        # place follows the one before, and at most one place is left out where they were too close.
        by_sum_s = free_s + sum(each.volumes for each in known) * each_s
        return behind_s + min(max(by_sum_s - behind_s, 0.0), each_s)

    def _lead_s(self, new: Place, within_s: float) -> float:
        """Return how long before the engine begins with it a request is to come."""
        each_s = self._pace.volume_s
        places = min(self._volumes, self._size * new.volumes // new.size) - new.volumes
        in_time = _FILL * within_s / (_RESERVE * each_s) - new.volumes
        return max(math.floor(min(_FILL * places, in_time)), 0) * each_s
