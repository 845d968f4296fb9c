"""Send objects by C-STORE, many on one association.

What pynetdicom leaves open, and is done here: it sends without a limit of time, so that a peer that
stops reading would hold the process for ever; it waits for acknowledgements between small packets
(Nagle); it does not say why a connection failed; and where a peer breaks the protocol, its thread
prints a traceback, and its association then waits for an answer until its time is over.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.runtime.delivery.peers.address import Dimse
from darnet_trt.runtime.delivery.peers.answers import (
    Answer,
    PeerFailure,
    Sendable,
    answer_to_store,
    quoted,
)
from darnet_trt.runtime.delivery.peers.checkpoint import keep_answers
from darnet_trt.runtime.delivery.peers.files import read_object

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import A_ASSOCIATE

CONNECT_S: Final = 10.0
"""Longest wait for a connection."""
ANSWER_S: Final = 30.0
"""Longest wait for an answer, and for the peer to take what is sent."""
_PDU: Final = 128 * 1024
"""Longest PDU that we take, in bytes."""

_REJECTED: Final = {
    (1, 2): "it does not know DICOM's application context",
    (1, 3): "it does not know our AE title",
    (1, 7): "it is not called by that AE title",
    (2, 2): "it speaks another version of the protocol",
    (3, 1): "temporary congestion",
    (3, 2): "it has as many associations as it allows",
}
"""Source and reason of A-ASSOCIATE-RJ (PS3.8 table 9-21) → words."""
_NEVER: Final = frozenset({3, 4})
"""Results of a presentation context that lie in the object: abstract and transfer syntax."""


@dataclass(frozen=True)
class Link:
    """An association that is open.

    Attributes:
        association: pynetdicom's.
        offers: Which of the SOP classes that were asked for the peer takes.
    """

    association: Association
    offers: frozenset[str]


class Line:
    """The line to one peer; `open` may be called again and again.

    Args:
        peer: Its address.
        ae: Our application entity title.
        handlers: pynetdicom's, for what the peer asks on our association.
    """

    def __init__(self, peer: Dimse, ae: str, handlers: Sequence[tuple[Any, Any]] = ()) -> None:
        self._peer, self._ae, self._handlers = peer, ae, list(handlers)
        self._sockets: list[socket.socket] = []

    def open(self, classes: Sequence[str]) -> Link:
        """Open an association for objects of some SOP classes.

        Args:
            classes: UIDs of the SOP classes.

        Raises:
            NoContext: The peer answered, and takes none of the classes.
            PeerFailure: There is none.
        """
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
        from pynetdicom import AE, build_context, evt

        ours = AE(ae_title=self._ae)
        ours.connection_timeout = CONNECT_S
        ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = ANSWER_S
        syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        contexts = [build_context(each, syntaxes) for each in classes]
        handlers = [(evt.EVT_CONN_OPEN, self._opened), *self._handlers]
        started = time.monotonic()
        try:
            association = ours.associate(
                self._peer.host,
                self._peer.port,
                contexts,
                ae_title=self._peer.ae,
                max_pdu=_PDU,
                evt_handlers=handlers,
            )
        except (OSError, UnicodeError) as error:  # the name is not known
            raise PeerFailure(_why(error)) from error
        if association.is_established:
            keep_answers(association)
            offers = frozenset(str(each.abstract_syntax) for each in association.accepted_contexts)
            return Link(association, offers)
        results = _rejected(association)
        if set(classes) <= set(results):
            raise NoContext(results)
        if (said := rejection(association)) is not None:
            place = said.result_source, said.diagnostic
            words = _REJECTED.get(place, f"source {place[0]}, reason {place[1]}")
            raise PeerFailure(f"rejects the association: {words}")
        if not self._sockets:
            raise PeerFailure(self._why_not_connected())
        if time.monotonic() - started >= ANSWER_S:
            raise PeerFailure(f"takes the connection, but gives no answer in {ANSWER_S:.0f} s")
        raise PeerFailure("ends the connection before an association; is it a DICOM peer?")

    def cut(self) -> None:
        """End what is open at once; called from another thread."""
        for each in tuple(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what pynetdicom left open: it forgets a connection whose thread has failed."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    def _opened(self, event: Any) -> None:
        opened = event.assoc.dul.socket.socket
        opened.settimeout(ANSWER_S)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(opened)

    def _why_not_connected(self) -> str:
        """Return why no connection came about; pynetdicom only logs it."""
        try:
            with socket.create_connection((self._peer.host, self._peer.port), CONNECT_S):
                return "did not take the connection"
        except OSError as error:
            return _why(error)


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Print no traceback where a peer breaks the protocol, and a thread of pynetdicom ends."""
    before = threading.excepthook

    def hook(ending: threading.ExceptHookArgs) -> None:
        if not type(ending.thread).__module__.startswith("pynetdicom"):
            before(ending)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


class NoContext(PeerFailure):
    """The peer takes none of the SOP classes.

    Args:
        results: SOP class → result of its presentation context (PS3.8 table 9-18).
    """

    def __init__(self, results: dict[str, int]) -> None:
        self.results = results
        super().__init__("takes no object of these kinds")


def store(link: Link, objects: Sequence[Sendable]) -> Iterator[Answer]:
    """Send objects, and yield what became of each.

    Raises:
        PeerFailure: The association ended; what was not yielded may or may not have arrived.
    """
    association = link.association
    results = _rejected(association)
    for number, each in enumerate(objects):
        if each.sop_class not in link.offers:
            yield not_taken(each, results)
            continue
        content = read_object(each)
        if isinstance(content, Answer):
            yield content
            continue
        started = time.monotonic()
        try:
            status = association.send_c_store(content, msg_id=number % 65535 + 1)
        except (RuntimeError, ValueError, AttributeError) as error:
            if association.is_established:  # the object cannot be encoded as the peer wants it
                yield Answer(each.sop_uid, "waiting", f"cannot be sent: {quoted(error)}")
                continue
            raise PeerFailure("ended the association") from error
        if "Status" not in status:
            late = time.monotonic() - started >= ANSWER_S
            raise PeerFailure(
                f"gave no answer to an object in {ANSWER_S:.0f} s"
                if late
                else "ended the association at an object"
            )
        yield answer_to_store(each.sop_uid, status.Status, str(status.get("ErrorComment") or ""))


def rejection(association: Association) -> A_ASSOCIATE | None:
    """Return what a peer rejects an association with; None if it does not.

    Where the peer rejects it and the connection ends before pynetdicom looks whether it is there,
    pynetdicom takes it for one that could not be made, and leaves the rejection in its queue.

    Args:
        association: Just opened.
    """
    from pynetdicom.pdu_primitives import A_ASSOCIATE

    said = association.acceptor.primitive if association.is_rejected else None
    said = said or association.dul.receive_pdu()
    return said if isinstance(said, A_ASSOCIATE) else None


def _rejected(association: Association) -> dict[str, int]:
    """Return the SOP classes that a peer does not take → result (PS3.8 table 9-18)."""
    return {str(cx.abstract_syntax): cx.result for cx in association.rejected_contexts}


def not_taken(each: Sendable, results: dict[str, int]) -> Answer:
    """Return the answer to an object whose presentation context was rejected.

    Args:
        each: The object.
        results: SOP class → result of its presentation context (PS3.8 table 9-18).
    """
    from pydicom.uid import UID

    result = results.get(each.sop_class, 1)
    words = f"takes no {UID(each.sop_class).name}" + (
        " in a syntax of ours (explicit or implicit VR little endian)" if result == 4 else ""
    )
    return Answer(each.sop_uid, "refused" if result in _NEVER else "waiting", words)


def _why(error: Exception) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "no such host"
    if isinstance(error, TimeoutError):
        return f"no connection in {CONNECT_S:.0f} s"
    return quoted(getattr(error, "strerror", None) or error).lower()
