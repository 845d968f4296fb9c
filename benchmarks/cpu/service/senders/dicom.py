"""Send DICOM files over several associations as a scanner room does on a bad day."""

from __future__ import annotations

import heapq
import io
import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pydicom
from pynetdicom import AE
from pynetdicom.fsm import InvalidEventError
from pynetdicom.sop_class import CTImageStorage

from benchmarks.cpu.service.senders.studies import Instance
from benchmarks.cpu.service.senders.web import store
from darnet_trt.runtime.delivery.peers.checkpoint import keep_answers

TITLE: Final = "SENDER"
AGAIN_S: Final = 0.3
ANSWER_S: Final = 3.0
"""A torn association is given up after so long; what it did not acknowledge is sent again."""


@dataclass
class Acknowledged:
    """Note what was acknowledged with status 0x0000, and what else was answered.

    Attributes:
        times: Instance → how often it was acknowledged.
        answers: Answer, or what came instead of it → how often.
    """

    times: Counter[Instance] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def contents(self) -> dict[str, set[str]]:
        """Return SOPInstanceUID → the contents that were acknowledged under it."""
        found: dict[str, set[str]] = {}
        for instance in self.times:
            found.setdefault(instance.sop_uid, set()).add(instance.digest)
        return found


class Timeline:
    """Instances, each with the time from which on it may be sent; threads share it.

    Args:
        due: Seconds from now, and the instance.
    """

    def __init__(self, due: Iterable[tuple[float, Instance]]) -> None:
        self._begun = time.monotonic()
        self._order = itertools.count()
        self._waiting = [(at, next(self._order), instance) for at, instance in due]
        heapq.heapify(self._waiting)
        self._away = 0
        self._changed = threading.Condition()

    def take(self, patience_s: float) -> Instance | None:
        """Take what is due; None where nothing is due for `patience_s`, or ever again."""
        limit = time.monotonic() + patience_s
        with self._changed:
            while True:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now - self._begun:
                    self._away += 1
                    return heapq.heappop(self._waiting)[2]
                if now >= limit or self.ended:
                    return None
                self._changed.wait(min(limit - now, 0.05))

    def give_back(self, instance: Instance | None) -> None:
        """Say that what was taken is done (None), or is to be sent again."""
        with self._changed:
            self._away -= 1
            if instance is not None:
                at = time.monotonic() - self._begun + AGAIN_S
                heapq.heappush(self._waiting, (at, next(self._order), instance))
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Return whether all is done."""
        return not self._waiting and not self._away

    @property
    def left(self) -> int:
        """Return how many are to be sent."""
        return len(self._waiting) + self._away


def timeline(
    studies: Sequence[Sequence[Instance]],
    *,
    seed: int,
    spread_s: float,
    late_s: float,
    twice: float = 0.1,
    late: float = 0.1,
) -> Timeline:
    """Plan when each instance is sent.

    Args:
        studies: What is sent.
        seed: Draws the order.
        spread_s: The studies begin within so many seconds.
        late_s: How long after its study's begin a late slice comes.
        twice: Share that is sent twice: half of it at once, on two associations, the others later.
        late: Share that comes late, in every second study: in turn the last slices of the series,
            without which the study can be classified, and any.
    """
    rng, due = random.Random(seed), []
    for place, study in enumerate(studies):
        begin = place * spread_s / len(studies)
        last = set(study[-round(late * len(study)) :]) if place % 4 == 1 else set()
        for instance in rng.sample(list(study), len(study)):
            at = begin + rng.random()
            if instance in last or (place % 4 == 3 and rng.random() < late):
                at = begin + late_s + rng.random()
            due.append((at, instance))
            if rng.random() < twice:
                due.append((at + rng.choice([0.0, 0.0, 2.0, late_s]), instance))
    return Timeline(due)


def send_all(
    line: Timeline,
    port: int,
    *,
    called: str = "ANY-SCP",
    associations: int = 8,
    web: int | None = None,
    aborted: float = 0.2,
    seed: int = 0,
    limit_s: float = 600,
) -> Acknowledged:
    """Send all of a timeline, again and again until it is acknowledged.

    Args:
        line: What is sent.
        port: Of the receiver, on loopback.
        called: Its application entity title.
        associations: How many senders there are.
        web: The receiver's HTTP port; None: nothing is sent there, else by two more senders.
        aborted: Share of the associations that end by an abort in the middle of a slice.
        seed: Draws who aborts, and when.
        limit_s: When to give up.
    """
    done, lock = Acknowledged(), threading.Lock()
    limit = time.monotonic() + limit_s
    senders = [
        threading.Thread(
            target=_send,
            args=(line, port, called, done, lock, random.Random(f"{seed} {n}"), aborted, limit),
            daemon=True,
        )
        for n in range(associations)
    ]
    for n in range(2 if web else 0):
        words = (line, web, done, lock, random.Random(f"{seed} web {n}"), limit)
        senders.append(threading.Thread(target=_send_over_http, args=words, daemon=True))
    with _quiet_threads():
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    return done


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Say nothing of pynetdicom's threads that end because their association was torn."""
    before = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, InvalidEventError):
            before(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _send_over_http(
    line: Timeline,
    port: int,
    done: Acknowledged,
    lock: threading.Lock,
    rng: random.Random,
    limit: float,
) -> None:
    while not line.ended and time.monotonic() < limit:
        batch: dict[str, Instance] = {}
        while len(batch) < rng.randint(1, 8) and (instance := line.take(0.2)) is not None:
            if instance.sop_uid in batch:
                line.give_back(instance)
                break
            batch[instance.sop_uid] = instance
        if not batch:
            continue
        answer, kept = store(port, list(batch.values()), rng)
        with lock:
            done.answers[answer] += 1
            done.times.update(kept)
        for instance in batch.values():
            line.give_back(None if instance in kept else instance)
        if not kept:
            time.sleep(rng.uniform(0.05, 0.3))


def _send(
    line: Timeline,
    port: int,
    called: str,
    done: Acknowledged,
    lock: threading.Lock,
    rng: random.Random,
    aborted: float,
    limit: float,
) -> None:
    def note(answer: str, instance: Instance | None = None) -> None:
        with lock:
            done.answers[answer] += 1
            if instance is not None:
                done.times[instance] += 1

    while not line.ended and time.monotonic() < limit:
        instance = line.take(0.5)
        if instance is None:
            continue
        association = _associate(port, called)
        if association is None:
            note("no association")
            line.give_back(instance)
            time.sleep(rng.uniform(0.05, 0.3))
            continue
        left = rng.randint(1, 40)
        torn_at = left - rng.randint(1, min(left, 5)) if rng.random() < aborted else -1
        while instance is not None:
            left -= 1
            if left == torn_at:  # at any moment of this slice, or soon after it
                note("torn")
                threading.Timer(rng.uniform(0, 0.01), _tear, (association, rng.random())).start()
            answer = _store(association, instance)
            note(answer, instance if answer == "0x0000" else None)
            line.give_back(None if answer == "0x0000" else instance)
            if left <= 0 or not association.is_established:
                break
            instance = line.take(0.3)
        with suppress(Exception):
            association.release() if association.is_established else association.abort()


def _associate(port: int, called: str) -> Any:
    ours = AE(ae_title=TITLE)
    ours.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    ours.connection_timeout, ours.acse_timeout, ours.dimse_timeout = 5, 5, ANSWER_S
    ours.network_timeout = ANSWER_S
    association = ours.associate("127.0.0.1", port, ae_title=called)
    keep_answers(association)
    return association if association.is_established else None


def _store(association: Any, instance: Instance) -> str:
    try:
        answer = association.send_c_store(pydicom.dcmread(io.BytesIO(instance.content)))
    except (RuntimeError, ValueError, OSError) as error:  # ended between two slices
        return type(error).__name__
    return f"0x{answer.Status:04X}" if "Status" in answer else "no answer"


def _tear(association: Any, how: float) -> None:
    """End an association by an A-ABORT (PS3.8 9.3.8), or as a crash of the sender: without a word.

    It goes past pynetdicom, whose senders wait for ever where another thread aborts.
    """
    with suppress(Exception):  # it has ended already
        connection = association.dul.socket.socket
        if how < 0.5:
            connection.sendall(b"\x07\x00\x00\x00\x00\x04" + bytes(4))
        connection.shutdown(socket.SHUT_RDWR)
