"""Peers that speak DICOM, each in its own way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from tests.runtime.delivery.folders import PAPER_CLASSES

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass
class Peer:
    """A peer that runs.

    Attributes:
        port: It listens on.
        stored: SOP instances in the order in which they came.
    """

    port: int = 0
    stored: list[str] = field(default_factory=list)

    @property
    def ae(self) -> str:
        return f"PEER@127.0.0.1:{self.port}"


@contextmanager
def peer(
    answer: Callable[[Any], Any] = lambda event: 0x0000,
    *,
    classes: Sequence[str] = tuple(PAPER_CLASSES.values()),
    syntaxes: Sequence[str] = (EXPLICIT, IMPLICIT),
    commit: Callable[[Any], Any] | None = None,
    **settings: Any,
) -> Iterator[Peer]:
    """Run a peer.

    Args:
        answer: Takes the event of an object; returns its status.
        classes: SOP classes that it takes.
        syntaxes: Transfer syntaxes that it takes.
        commit: Takes the event of a request to commit; returns its status.
        settings: Of pynetdicom's AE.
    """
    found = Peer()

    def take(event: Any) -> Any:
        found.stored.append(str(event.request.AffectedSOPInstanceUID))
        return answer(event)

    server = AE(ae_title="PEER")
    for name, value in settings.items():
        setattr(server, name, value)
    for each in classes:
        server.add_supported_context(each, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, take)]
    if commit is not None:
        server.add_supported_context(StorageCommitmentPushModel)
        handlers.append((evt.EVT_N_ACTION, commit))
    if not classes:
        server.add_supported_context("1.2.840.10008.1.1")
    started = server.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    found.port = started.server_address[1]
    try:
        yield found
    finally:
        server.shutdown()
        started.server_close()


def commitment(event: Any, failed: dict[str, int]) -> Any:
    """Return the information of an N-EVENT-REPORT that commits all but some instances."""
    from pydicom import Dataset

    report = Dataset()
    report.TransactionUID = event.action_information.TransactionUID
    report.ReferencedSOPSequence, report.FailedSOPSequence = [], []
    for asked in event.action_information.ReferencedSOPSequence:
        one = Dataset()
        one.ReferencedSOPClassUID = asked.ReferencedSOPClassUID
        one.ReferencedSOPInstanceUID = asked.ReferencedSOPInstanceUID
        reason = failed.get(str(asked.ReferencedSOPInstanceUID))
        if reason is None:
            report.ReferencedSOPSequence.append(one)
        else:
            one.FailureReason = reason
            report.FailedSOPSequence.append(one)
    if not report.FailedSOPSequence:
        del report.FailedSOPSequence
    return report


def tell(port: int, report: Any) -> Any:
    """Bring a report to our own port; return its status, None where nobody took it."""
    from pynetdicom import build_role

    ours = AE(ae_title="PEER")
    ours.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    association = ours.associate("127.0.0.1", port, ext_neg=[role])
    if not association.is_established:
        return None
    kind = 2 if "FailedSOPSequence" in report else 1
    status, _ = association.send_n_event_report(
        report, kind, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
    )
    association.release()
    return status.get("Status")


@contextmanager
def raw_peer(handle: Callable[[socket.socket], None]) -> Iterator[Peer]:
    """Run a peer that does with each connection what it is told, and closes it then."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(20)
                        handle(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Peer(server.getsockname()[1])
        finally:
            ended.set()
            with suppress(OSError):
                socket.create_connection(server.getsockname(), 1).close()
            thread.join(25)
