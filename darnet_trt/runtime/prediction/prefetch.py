"""Making the next element in a thread while the one before it is in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Generic, Self, TypeVar

__all__ = ["OneAhead"]

T = TypeVar("T")


class OneAhead(Generic[T]):
    """An iterator over `items` that makes one element ahead, and the first one at once.

    No more than one waits, so memory does not grow with the number of elements. An exception in
    `items` is raised where its element would have come. The thread is a daemon: an interrupt
    does not wait for the element being made.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._ready: SimpleQueue[T | _Ended] = SimpleQueue()
        self._taken = threading.Semaphore(0)
        self._closed = False
        threading.Thread(target=self._work, name="prefetch", daemon=True).start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._ready.get()
        if isinstance(item, _Ended):
            self._ready.put(item)
            if item.error is None:
                raise StopIteration
            raise item.error
        self._taken.release()
        return item

    def close(self) -> None:
        """Make no further element."""
        self._closed = True
        self._taken.release()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._ready.put(item)
                self._taken.acquire()
                if self._closed:
                    return
            self._ready.put(_Ended(None))
        except BaseException as error:  # to be raised in the thread that waits for it
            self._ready.put(_Ended(error))


class _Ended:
    """No element follows."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
