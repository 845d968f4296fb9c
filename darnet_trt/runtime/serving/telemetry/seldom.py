"""Tell of what may happen a thousand times a second, and not a thousand times."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

PAUSE_S: Final = 60.0
"""Shortest time between two lines of one kind."""


class Seldom:
    """Writes warnings of a kind into the log at most once a minute.

    Args:
        log: That is written into.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._lock = log, threading.Lock()
        self._next: dict[str, float] = {}

    def warn(self, kind: str, text: str) -> None:
        """Write a line, unless there was one of its kind within the last minute."""
        now = time.monotonic()
        with self._lock:
            if now < self._next.get(kind, now):
                return
            self._next[kind] = now + PAUSE_S
        self._log.warning("%s", text)
