"""Keep places for clients that were refused: when they come again, they come first.

A ticket says when its holder may come. The engine's time for it is reserved from then on, and given
to others if the holder does not come. All times are of `time.monotonic`, in seconds.
"""

from __future__ import annotations

import secrets
from bisect import insort
from dataclasses import dataclass
from typing import Final

LATE_S: Final = 2.0
"""How long after its time a ticket holds: HTTP's Retry-After counts whole seconds, and clients wait
for the network, too."""
EARLY_S: Final = 0.05
"""By how much clocks and timers let a holder come too early."""
_MOST: Final = 4096
_AHEAD_S: Final = 600.0


@dataclass(frozen=True, eq=False)
class Ticket:
    """A place that is kept.

    Attributes:
        name: What the holder shows.
        volumes: How many it was given for.
        come_s: When the holder is to come.
        begin_s: When the engine is to begin with it.
    """

    name: str
    volumes: int
    come_s: float
    begin_s: float


class Tickets:
    """The tickets that are out, at most 4,096, for at most ten minutes ahead."""

    def __init__(self) -> None:
        self._by_name: dict[str, Ticket] = {}
        self._in_order: list[Ticket] = []
        self._first_end = 0.0  # no ticket's time is over before

    def __len__(self) -> int:
        return len(self._by_name)

    def issue(self, now: float, come_s: float, begin_s: float, volumes: int) -> Ticket | None:
        """Keep a place, unless that is too far ahead or too many are kept.

        Args:
            now: The time.
            come_s: When the holder is to come.
            begin_s: When the engine is to begin with it.
            volumes: How many.
        """
        if len(self) >= _MOST or come_s > now + _AHEAD_S:
            return None
        ticket = Ticket(secrets.token_urlsafe(12), volumes, come_s, begin_s)
        self._by_name[ticket.name] = ticket
        insort(self._in_order, ticket, key=_begin_s)
        self._first_end = min(self._first_end, come_s + LATE_S)
        return ticket

    def get(self, name: str) -> Ticket | None:
        """Return a ticket that is out."""
        return self._by_name.get(name)

    def remove(self, name: str) -> None:
        """Give a ticket's place back."""
        if (ticket := self._by_name.pop(name, None)) is not None:
            self._in_order.remove(ticket)

    def outstanding(self, now: float) -> list[Ticket]:
        """Forget those whose time is over, and return the others in the engine's order."""
        if now > self._first_end:
            self._in_order = [each for each in self._in_order if each.come_s + LATE_S >= now]
            self._by_name = {each.name: each for each in self._in_order}
            self._first_end = min((e.come_s + LATE_S for e in self._in_order), default=now)
        return self._in_order


def _begin_s(ticket: Ticket) -> float:
    return ticket.begin_s
