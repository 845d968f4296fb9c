"""Examine folders and gather their studies in other processes; what these do is never lost."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from darnet_trt.errors import DarnetError, Finding, UnreadableScanError
from darnet_trt.machine.pool import Pool, TimedFuture
from darnet_trt.machine.worker import WorkerDied
from darnet_trt.runtime.prediction.pipeline.loading import Closed
from darnet_trt.runtime.prediction.pipeline.spool import Spool
from darnet_trt.scan.discovery.examine import Examined, Stored, examine
from darnet_trt.scan.discovery.gather import Gathered, gather
from darnet_trt.scan.discovery.units import Unit
from darnet_trt.scan.discovery.walk import Listing
from darnet_trt.scan.isolated import OF_ONE_SCAN, ended, submit

T = TypeVar("T")
R = TypeVar("R")

WHAT: Final = "the files of this folder"
_CLOSED: Final = "closed"
KILLS: Final = 2
"""A call is made again so many times when its process is killed: whoever kills processes rarely
hits the same call thrice, and a file that asks for all memory should not cost many."""


class Finder:
    """Runs `examine` and `gather` in a pool, some ahead of who asks.

    Args:
        pool: Where they run.
        spool: What keeps headers until they are gathered.
        ahead: How many calls run or wait at once.
        memory: Bytes that each may take.
        mixed: As of `gather`.
    """

    def __init__(
        self, pool: Pool, spool: Spool, ahead: int, memory: int, *, mixed: bool = False
    ) -> None:
        self._pool, self._spool, self._ahead, self._memory = pool, spool, ahead, memory
        self._mixed = mixed
        # The first study comes first: what is begun ahead would delay it.
        self._now = 0

    def examined(
        self,
        listings: Iterable[Listing],
        wanted: Callable[[Listing], bool],
        since: float | None = None,
    ) -> Iterator[tuple[Listing, list[Examined], float]]:
        """Yield each listing in order, what its files are, and the milliseconds that listing
        and examining them took.

        A listing whose files end the process is examined again in parts, which come as several.

        Args:
            listings: Of a place.
            wanted: Whether to examine it; nothing comes with the others.
            since: When the wait for the first listing began, of `time.perf_counter`; None: now.
        """

        def begin(listed: tuple[Listing, float]) -> TimedFuture[Examined] | None:
            listing, _ = listed
            return self._submit(examine, listing, where=listing.folder) if wanted(listing) else None

        for (listing, list_ms), coming in self._begun(begin, _each_with_ms(listings, since)):
            try:
                parts = [] if coming is None else [_with_ms(coming)]
            except WorkerDied as died:
                parts = list(self._again(listing, _unless_closed(died)))
            except OF_ONE_SCAN as error:
                parts = [self._failing(listing, error)]
            self._now = self._ahead
            ms = list_ms + sum(part_ms for _, part_ms in parts)
            yield listing, [self._kept(part) for part, _ in parts], ms

    def gathered(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Gathered, float]]:
        """Yield each unit in order, its studies, and the milliseconds that took."""

        def begin(unit: Unit) -> tuple[list[Examined], TimedFuture[Gathered]]:
            whole = [self._whole(examined) for examined in unit.examined]
            where = whole[0].listing_folder
            return whole, self._submit(gather, whole, None, self._mixed, where=where)

        for unit, (whole, coming) in self._begun(begin, units):
            yield unit, *self._result_of_gather(whole, coming)

    def again(self, listings: Sequence[Listing], key: str) -> tuple[Gathered, float]:
        """Examine some files once more, and gather one study of them; also the milliseconds.

        Args:
            listings: Of the files.
            key: The study's.
        """
        found = [(parts, ms) for _, parts, ms in self.examined(listings, lambda _: True)]
        whole = [self._whole(examined) for parts, _ in found for examined in parts]
        only = frozenset([key])
        coming = self._submit(gather, whole, only, where=whole[0].listing_folder)
        gathered, gather_ms = self._result_of_gather(whole, coming, only)
        return gathered, gather_ms + sum(ms for _, ms in found)

    def failed(self, root: Path, error: UnreadableScanError) -> Gathered:
        """Return one study that failed with an error.

        Args:
            root: Of the place.
            error: Names the path.
        """
        listing = Listing(Path(str(error.where)), (), failed=(error,), root=root)
        examined, _ = self._surely(examine, listing, where=listing.folder)
        return self._surely(gather, [examined], where=listing.folder)[0]

    def _result_of_gather(
        self,
        whole: list[Examined],
        coming: TimedFuture[Gathered],
        only: frozenset[str] | None = None,
    ) -> tuple[Gathered, float]:
        where = whole[0].listing_folder
        try:
            return _with_ms(coming)
        except WorkerDied as died:
            error = ended(_unless_closed(died), where, WHAT)
        except OF_ONE_SCAN as unread:
            error = _unreadable(unread, where)
        return self.failed(whole[0].root, error), 0.0

    def _again(self, listing: Listing, died: WorkerDied) -> Iterator[tuple[Examined, float]]:
        """Examine the halves of a listing that ended its process, down to the file that does.

        What was not done in time waits for a disk: its parts would, too.
        """
        if died.code is None:
            yield self._failing(listing, ended(died, listing.folder, WHAT))
            return
        middle = (len(listing.files) + 1) // 2
        parts = [replace(listing, files=listing.files[:middle])]
        if rest := listing.files[middle:]:
            parts.append(replace(listing, files=rest, ignored=Counter(), failed=()))
        for part in parts:
            try:
                yield _with_ms(self._submit(examine, part, where=part.folder))
            except OF_ONE_SCAN as error:
                yield self._failing(part, error)
            except WorkerDied as again:
                _unless_closed(again)
                if len(part.files) > 1:
                    yield from self._again(part, again)
                else:
                    path = part.files[0].path if part.files else part.folder
                    yield self._failing(part, ended(again, path, "it"))

    def _failing(self, listing: Listing, error: DarnetError) -> tuple[Examined, float]:
        """Return what `examine` makes of a listing of which nothing is known but an error."""
        failed = (*listing.failed, _unreadable(error, listing.folder))
        empty = replace(listing, files=(), failed=failed)
        return self._surely(examine, empty, where=listing.folder)

    def _surely(self, function: Callable[..., T], *arguments: Any, where: Path) -> tuple[T, float]:
        """Run what reads no file, and dies only where somebody ends its process."""
        try:
            return _with_ms(self._submit(function, *arguments, where=where))
        except WorkerDied as died:
            error = ended(_unless_closed(died), where, WHAT)
        raise DarnetError(error.what, where=where, do=error.do)

    def _submit(self, function: Callable[..., T], *arguments: Any, where: Path) -> TimedFuture[T]:
        return submit(
            self._pool, function, *arguments, where=where, memory=self._memory, kills=KILLS
        )

    def _kept(self, examined: Examined) -> Examined:
        """Let what was examined wait in the spool."""
        return examined.with_bytes(lambda one: self._spool.put(_bytes(one)))

    def _begun(self, begin: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Yield each item and what `begin` gives for it, begun some items ahead."""
        begun: deque[tuple[T, R]] = deque()
        for item in items:
            begun.append((item, begin(item)))
            while len(begun) > self._now:
                yield begun.popleft()
        yield from begun

    def _whole(self, examined: Examined) -> Examined:
        return examined.with_bytes(self._spool.take)


def _bytes(content: bytes | Stored) -> bytes:
    assert isinstance(content, bytes)
    return content


def _unless_closed(died: WorkerDied) -> WorkerDied:
    """Return how a process died.

    Raises:
        Closed: The pool was closed.
    """
    if died.how == _CLOSED:
        raise Closed from died
    return died


def _unreadable(error: DarnetError, where: Path) -> UnreadableScanError:
    if isinstance(error, UnreadableScanError):
        return error
    finding = Finding(error.code or "internal-error", error.what)
    return UnreadableScanError(finding, where=error.where or where, do=error.do)


def _with_ms(coming: TimedFuture[T]) -> tuple[T, float]:
    return coming.result(), coming.took_ms


def _each_with_ms(items: Iterable[T], since: float | None) -> Iterator[tuple[T, float]]:
    """Yield each item and the milliseconds that getting it took."""
    start = time.perf_counter() if since is None else since
    for item in items:
        yield item, (time.perf_counter() - start) * 1000
        start = time.perf_counter()
