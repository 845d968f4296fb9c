"""Run streams of queries side by side, by the machine's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

Ask = Callable[[], object]
"""Answers one query, and returns when it is answered."""

Stream = Iterator[int]
"""Asks queries one after the other; between them it yields until when to wait, in ns."""

_STOPS_WITHIN_NS: Final = 50_000_000


class Clock(Protocol):
    """A time by which streams run; tests have one that takes no time."""

    def now_ns(self) -> int:
        """Return the time."""
        ...

    def run(self, streams: Sequence[Stream]) -> None:
        """Run streams side by side until all have ended, or one has failed."""
        ...


class MachineClock:
    """The time of `time.perf_counter_ns`; each stream has a thread, a single one has the caller's.

    Where a stream fails, or Ctrl-C comes, the others end after the query that they are in: an
    engine must not be closed under a query.
    """

    def now_ns(self) -> int:
        """Return the time."""
        return time.perf_counter_ns()

    def run(self, streams: Sequence[Stream]) -> None:
        """Run streams side by side.

        Raises:
            Exception: What a query raised.
        """
        stop = threading.Event()
        if len(streams) == 1:
            _follow(streams[0], stop)
            return
        failures: list[BaseException] = []

        def follow(stream: Stream) -> None:
            try:
                _follow(stream, stop)
            except BaseException as error:
                failures.append(error)
                stop.set()

        threads = [threading.Thread(target=follow, args=(one,), daemon=True) for one in streams]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if failures:
            raise failures[0]


MACHINE: Final = MachineClock()


def _follow(stream: Stream, stop: threading.Event) -> None:
    for until_ns in stream:
        while (left_ns := until_ns - time.perf_counter_ns()) > 0 and not stop.is_set():
            time.sleep(min(left_ns, _STOPS_WITHIN_NS) / 1e9)
        if stop.is_set():
            return
