"""Bound the memory of what comes in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from darnet_trt.errors import BusyError, Finding


class Budget:
    """Bytes of memory that all that is coming in may take together.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take some; return whether there were as many."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give some back."""
        with self._lock:
            self._left += size

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Take some for a while.

        Raises:
            BusyError: So many are not left.
        """
        if not self.take(size):
            raise BusyError(
                Finding("memory", "the memory for requests is in use"), retry_after_s=1.0
            )
        try:
            yield
        finally:
            self.give(size)
