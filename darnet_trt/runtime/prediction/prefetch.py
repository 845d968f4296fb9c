"""Make the next element in a thread while the one before it is in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")

_END: Final = object()


class OneAhead(Generic[T]):
    """An iterator over `items` that makes one element ahead, and the first one at once.

    No more than one waits, so memory does not grow with the number of elements. An exception in
    `items` is raised where its element would have come.

    Each element has a daemon thread of its own. A ThreadPoolExecutor would join its threads when
    the interpreter ends, so that Ctrl-C had to wait for a search of a whole archive.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._coming = self._start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._coming.result()
        if item is _END:
            raise StopIteration
        self._coming = self._start()
        return item

    def _start(self) -> Future[T]:
        coming: Future[T] = Future()
        threading.Thread(target=self._make, args=(coming,), name="prefetch", daemon=True).start()
        return coming

    def _make(self, coming: Future[T]) -> None:
        try:
            coming.set_result(next(self._items, _END))  # type: ignore[arg-type]
        except BaseException as error:  # raised in the thread that waits for the element
            coming.set_exception(error)
