"""Bring the objects of a queue to their peers, each peer in a thread of its own.

A peer that is slow, or down, holds up neither another peer nor whoever makes the results.

An object is noted as sent after its peer said so. A process that is killed in between sends it
again, with the same UID and the same bytes, and a peer keeps one instance of a UID.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from darnet_trt.errors import InternalError, MissingPackageError, OutputError
from darnet_trt.runtime.delivery.peers import stow
from darnet_trt.runtime.delivery.peers.address import Dimse, Stow, parse_address
from darnet_trt.runtime.delivery.peers.answers import Answer, PeerFailure, Sendable, in_words
from darnet_trt.runtime.delivery.peers.commitment import (
    COMMITS_NOTHING,
    PUSH_MODEL,
    Listener,
    ask,
)
from darnet_trt.runtime.delivery.peers.dimse import (
    Line,
    Link,
    NoContext,
    not_taken,
    quiet_threads,
    store,
)
from darnet_trt.runtime.delivery.queue import Entry, Queue
from darnet_trt.runtime.prediction.results.lines import JSONL, read_results

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.result import Result

OUR_TITLE: Final = "DARNET-TRT"
"""Our application entity title where none is given."""
COMMIT_S: Final = 10.0
"""Bounds how long the end of a run waits for answers to requests to commit."""
_SAME_S: Final = 2.0  # how long an association stays open for such an answer
_STOP_S: Final = 2.0  # how long `Delivery` waits for its threads when it is left


@dataclass(frozen=True)
class Ours:
    """Says how we appear to peers.

    Attributes:
        ae: Our application entity title.
        port: The port on which peers bring their answers to requests to commit; None: peers are
            not asked to commit.
    """

    ae: str = OUR_TITLE
    port: int | None = None


class Delivery:
    """Deliveries that go on while something else is done; use it in a `with` statement.

    Args:
        queue: What is to be delivered, to whom.
        ours: How we appear to peers.
        notify: Called with a line on what is unusual; from another thread.

    Attributes:
        failure: Why the deliveries ended early: they cannot be noted; None: they did not.

    Raises:
        UsageError: Our port cannot be listened on.
    """

    def __init__(self, queue: Queue, ours: Ours, notify: Callable[[str], None]) -> None:
        addresses = [parse_address(text) for text in queue.peers()]
        self.queue = queue
        self.changed = threading.Condition()
        self.until: float | None = None
        self.failure: OutputError | None = None
        self._notify = notify
        self._listener: Listener | None = None
        if ours.port is not None:
            self._listener = Listener(ours.ae, ours.port, self._committed)
            queue.want_commitment()
        self._couriers: list[_Courier] = [
            _ByDimse(self, each, ours.ae, self._listener)
            if isinstance(each, Dimse)
            else _ByStow(self, each)
            for each in addresses
        ]

    def add(self, result: Result) -> None:
        """Send the objects of a result in place of those of its study's old one.

        Call it when the line that names them is written. Where the queue cannot be kept, the
        deliveries end, and the run goes on.
        """
        try:
            self.queue.add(result.key, list(entries_of(result)))
        except OutputError as error:
            self.fail(error)
        with self.changed:
            self.changed.notify_all()

    def finish(self, until: float, within_s: float | None = None) -> None:
        """Wait until nothing more is due.

        Args:
            until: Seconds since 1970; what is due later is left.
            within_s: Longest wait; what is being sent then is left, too. None: any.
        """
        with self.changed:
            self.until = until
            self.changed.notify_all()
        end = None if within_s is None else time.monotonic() + within_s
        for courier in self._couriers:
            courier.join(None if end is None else max(end - time.monotonic(), 0.0))

    def fail(self, error: OutputError) -> None:
        """End all deliveries: they cannot be noted."""
        with self.changed:
            if self.failure is None and not self._stopped():
                self.failure = error
                self._notify(f"warning: nothing more is sent: {error}")
        for courier in self._couriers:
            courier.stop()

    def warn(self, line: str) -> None:
        """Say what is unusual."""
        self._notify(f"warning: {line}")

    def _stopped(self) -> bool:
        return all(courier.stopped for courier in self._couriers)

    def _committed(self, transaction: str, done: Sequence[str], failed: dict[str, int]) -> None:
        self.queue.committed(transaction, done, failed)
        with self.changed:
            self.changed.notify_all()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(quiet_threads())
            if self._listener is not None:
                opened.callback(self._listener.close)
            for courier in self._couriers:
                courier.start()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *ending: object) -> None:
        with self._opened:
            self._stop()

    def _stop(self) -> None:
        for courier in self._couriers:
            courier.stop()
        end = time.monotonic() + _STOP_S
        for courier in self._couriers:
            courier.join(max(end - time.monotonic(), 0.0))


class _Courier(threading.Thread):
    """Brings objects to one peer."""

    def __init__(self, delivery: Delivery, peer: Dimse | Stow) -> None:
        super().__init__(name=f"to {peer}", daemon=True)
        self.stopped = False
        self._delivery, self._queue, self._peer = delivery, delivery.queue, str(peer)
        self._asks = False
        self._answer_by = 0.0

    def run(self) -> None:
        """Deliver what is due until there is no more to come."""
        try:
            while not self.stopped:
                if not self._round() and not self._wait():
                    return
        except OutputError as error:
            self._delivery.fail(error)

    def stop(self) -> None:
        """End it soon; what is being sent counts as not sent."""
        self.stopped = True
        with self._delivery.changed:
            self._delivery.changed.notify_all()

    def _round(self) -> bool:
        """Try all that is due once; return whether anything was."""
        to_store, to_commit = self._queue.due(self._peer, commits=self._asks)
        left = {each.sop_uid for each in to_store}
        try:
            for answer in self._tried(to_store, to_commit):
                self._queue.note(self._peer, answer, commits=self._asks)
                left.discard(answer.sop_uid)
                if self.stopped:
                    return False
        except OutputError:
            raise
        except Exception as error:
            if self.stopped:
                return False
            words = str(error if isinstance(error, PeerFailure) else InternalError(error))
            self._queue.put_off(self._peer, left, words)
            self._queue.ask_later(self._peer, [each.sop_uid for each in to_commit])
        return bool(to_store or to_commit)

    def _tried(
        self, to_store: Sequence[Sendable], to_commit: Sequence[Sendable]
    ) -> Iterator[Answer]:
        """Send objects, and ask to commit others; yield what became of each.

        Raises:
            PeerFailure: The peer cannot be talked to; what was not yielded is tried again.
        """
        raise NotImplementedError

    def _wait(self) -> bool:
        """Wait until something may be due; return False where the end has come."""
        with self._delivery.changed:
            now, until = time.time(), self._delivery.until
            due = self._queue.next_due(self._peer, commits=self._asks)
            if until is not None:
                answer_by = max(until, self._answer_by)
                if self._asks and now < answer_by and self._queue.awaits(self._peer):
                    due = min(due or answer_by, answer_by)
                elif due is None or due > until:
                    return False
            self._delivery.changed.wait(None if due is None else min(max(due - now, 0.0), 60.0))
        return True


class _ByDimse(_Courier):
    """Brings objects by C-STORE, and asks to commit them where we listen for the answer."""

    def __init__(self, delivery: Delivery, peer: Dimse, ae: str, listener: Listener | None) -> None:
        super().__init__(delivery, peer)
        self._asks = listener is not None
        self._line = Line(peer, ae, listener.handlers if listener else ())

    def stop(self) -> None:
        super().stop()
        self._line.cut()

    def _tried(
        self, to_store: Sequence[Sendable], to_commit: Sequence[Sendable]
    ) -> Iterator[Answer]:
        if not to_store and not to_commit:
            return
        try:
            yield from self._on_one_association(to_store, to_commit)
        finally:
            self._line.close()

    def _on_one_association(
        self, to_store: Sequence[Sendable], to_commit: Sequence[Sendable]
    ) -> Iterator[Answer]:
        classes = list(dict.fromkeys(each.sop_class for each in to_store))
        try:
            link = self._line.open([*classes, *[PUSH_MODEL] * self._asks])
        except NoContext as error:
            yield from (not_taken(each, error.results) for each in to_store)
            if self._asks:
                self._queue.commits_nothing(self._peer)
            return
        try:
            stored = []
            by_uid = {each.sop_uid: each for each in to_store}
            for answer in store(link, to_store):
                yield answer
                stored += [by_uid[answer.sop_uid]] if answer.state == "sent" else []
            if self._asks:
                self._ask(link, [*to_commit, *stored])
        finally:
            link.association.release()

    def _ask(self, link: Link, objects: Sequence[Sendable]) -> None:
        """Ask to commit objects, and give the peer a moment to answer on the same association."""
        from pydicom.uid import generate_uid

        if PUSH_MODEL not in link.offers:
            self._queue.commits_nothing(self._peer)
            return
        if not objects:
            return
        transaction = str(generate_uid(prefix=None))  # random, so that only the peer can answer
        self._queue.asked(self._peer, transaction, [each.sop_uid for each in objects])
        status = ask(link, objects, transaction)
        if status in COMMITS_NOTHING:
            self._queue.commits_nothing(self._peer)
        if status:
            self._delivery.warn(f"{self._peer}: is not willing to commit: {in_words(status)}")
            return
        self._answer_by = time.time() + COMMIT_S
        end = time.monotonic() + _SAME_S
        while time.monotonic() < end and not self.stopped and link.association.is_established:
            if not self._queue.awaits(self._peer):
                return
            time.sleep(0.05)


class _ByStow(_Courier):
    """Brings objects by STOW-RS."""

    def __init__(self, delivery: Delivery, peer: Stow) -> None:
        super().__init__(delivery, peer)
        self._address, self._session = peer, stow.new_session()

    def _tried(
        self, to_store: Sequence[Sendable], to_commit: Sequence[Sendable]
    ) -> Iterator[Answer]:
        return stow.store(self._session, self._address, to_store)


def entries_of(result: Result) -> Iterator[Entry]:
    """Yield the objects of a result."""
    for made in result.dicom:
        yield Entry(result.key, made.sop_class, made.sop_uid, made.file)


def add_peers(queue: Queue, peers: Sequence[str]) -> None:
    """Add peers to a queue, by their addresses."""
    for peer in peers:
        queue.add_peer(peer, commits=isinstance(parse_address(peer), Dimse))


def fill_from(queue: Queue) -> None:
    """Take the objects of all results of the queue's folder, which must hold some.

    Where `results.jsonl` has not changed since, nothing is read.

    Raises:
        UsageError: A line is no result of this schema.
        OutputError: They cannot be read.
    """
    now = (queue.folder / JSONL).stat()
    mark = f"{now.st_ino} {now.st_size} {now.st_mtime_ns}"
    if queue.is_filled(mark):
        return
    results = read_results(queue.folder)
    queue.fill((each for result in results for each in entries_of(result)), mark)


def need_packages() -> None:
    """Check that the packages of the extra `dicom` are there.

    Raises:
        MissingPackageError: One is not.
    """
    try:
        import pynetdicom  # noqa: F401
        import requests  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(error.name or "pynetdicom", extra="dicom") from error
