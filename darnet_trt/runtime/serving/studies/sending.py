"""Send what the results hold, beside all else; what goes wrong with it stops nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

from darnet_trt.errors import DarnetError
from darnet_trt.runtime.delivery.deliver import Delivery, Ours, add_peers, entries_of
from darnet_trt.runtime.delivery.queue import Queue, Tally
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.serving.settings import DicomSettings, Settings

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.result import Result

AGAIN_S: Final = 60.0
"""After how long a delivery that ended is begun again: its disk was full, or broken."""


class Sending:
    """The deliveries of a result folder; use it in a `with` statement.

    Args:
        results: What is sent.
        settings: Of the service; without `send` there are no deliveries.
        notify: Called with a line on what is unusual.
    """

    def __init__(
        self, results: ResultFolder, settings: Settings, notify: Callable[[str], None]
    ) -> None:
        self._results, self._peers, self._notify = results, settings.send, notify
        own = settings.dicom or DicomSettings()
        self._ours = Ours(own.ae, settings.commit_port)
        self._queue: Queue | None = None
        self._delivery: Delivery | None = None
        self._again_at = 0.0

    def begin(self) -> None:
        """Begin the deliveries, or begin them again where they have ended; call it often.

        It reads the results: nothing may change them meanwhile.
        """
        if not self._peers or time.monotonic() < self._again_at:
            return
        if self._delivery is not None and self._delivery.failure is None:
            return
        self._end()
        try:
            self._queue = Queue(self._results.folder, self._notify)
            for peer in set(self._queue.peers()).difference(self._peers):
                self._queue.drop_peer(peer)  # an earlier run sent there, and nobody wants it now
            add_peers(self._queue, self._peers)
            self._queue.fill(each for r in self._results.results() for each in entries_of(r))
            self._delivery = Delivery(self._queue, self._ours, self._notify)
            self._delivery.__enter__()
        except (DarnetError, OSError) as error:
            self._delivery = None
            self._notify(f"warning: nothing is sent now: {error}")
            self._end()
        self._again_at = time.monotonic() + AGAIN_S

    def add(self, result: Result) -> None:
        """Send the objects of a result in place of those of the one before it."""
        if self._delivery is not None:
            self._delivery.add(result)

    def drop(self, key: str) -> None:
        """Send nothing more of a result."""
        if self._queue is not None:
            try:
                self._queue.add(key, ())
            except DarnetError as error:
                self._notify(f"warning: {error}")

    def tallies(self) -> dict[str, Tally]:
        """Return how far the deliveries to each peer are."""
        queue = self._queue  # it may be put aside meanwhile, and then fails
        if queue is None:
            return {}
        try:
            return {peer: queue.tally(peer) for peer in queue.peers()}
        except DarnetError:
            return {}

    def finish(self, within_s: float) -> None:
        """Wait until nothing is due any more, at most so many seconds."""
        if self._delivery is not None:
            self._delivery.finish(time.time(), within_s)

    def _end(self) -> None:
        delivery, self._delivery = self._delivery, None
        queue, self._queue = self._queue, None
        if delivery is not None:
            delivery.__exit__()
        if queue is not None:
            queue.__exit__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self._end()
