"""A clock whose time passes only where a test says so."""

import heapq
from collections.abc import Callable, Sequence

from darnet_trt.runtime.bench.scenarios.clock import Ask, Stream


class SimulatedClock:
    """Runs streams in one thread, always the one whose time is the earliest."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def takes(self, ms: Callable[[], float] | float) -> Ask:
        """Return a query that takes so long."""

        def ask() -> None:
            self._now_ns += round((ms() if callable(ms) else ms) * 1e6)

        return ask

    def run(self, streams: Sequence[Stream]) -> None:
        waiting = [(self._now_ns, number) for number in range(len(streams))]
        ends = self._now_ns
        while waiting:
            self._now_ns, number = heapq.heappop(waiting)
            until_ns = next(streams[number], None)
            ends = max(ends, self._now_ns)
            if until_ns is not None:
                heapq.heappush(waiting, (max(until_ns, self._now_ns), number))
        self._now_ns = ends
