"""Answer requests to commit (PS3.4 annex J): say which instances are safely on our disk.

The answer follows from the disk alone, so that who asks again hears the same. It goes to the port
of a peer that has one, and is tried again where the peer is away; else it goes out on the
association of the request, right after the request was taken.
"""

from __future__ import annotations

import heapq
import io
import itertools
import logging
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from darnet_trt.runtime.delivery.peers.checkpoint import keep_answers
from darnet_trt.runtime.delivery.peers.commitment import PUSH_MODEL
from darnet_trt.runtime.delivery.peers.dimse import ANSWER_S, CONNECT_S
from darnet_trt.runtime.serving.intake.holdings import UNCLEAR, why_not_held
from darnet_trt.runtime.serving.intake.store import Store
from darnet_trt.runtime.serving.network.tls import client_context
from darnet_trt.runtime.serving.settings import DicomSettings

_INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # the one instance of the push model
_REQUEST: Final = 1
_ALL_HELD, _SOME_FAILED = 1, 2  # Event Type IDs (PS3.4 J.3.3)
_NO_SUCH_INSTANCE, _BAD_ARGUMENT, _NO_SUCH_ACTION, _TOO_MUCH = 0x0112, 0x0115, 0x0123, 0x0213
_UID: Final = re.compile(r"[0-9.]{1,64}")
_MOST: Final = 100_000
"""Instances in one request."""
_WAITING, _WAITING_INSTANCES = 1000, 1_000_000
"""Answers that wait for peers that are away, and the instances in all of them."""
_RELEASE_S: Final = 2.0  # how long a peer may take to let us go
_LEAVE_S: Final = 5.0
_AGAIN_S: Final = (5.0, 30.0, 120.0, 600.0)
"""Waits before an answer is tried again; after the last one the peer has to ask again."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    """A request to commit.

    Attributes:
        transaction: Its TransactionUID (0008,1195).
        instances: SOPClassUID and SOPInstanceUID of each instance.
    """

    transaction: str
    instances: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Away:
    """Where an answer goes that has an association of its own.

    Attributes:
        ae: The peer's title.
        host: Its address.
        port: Its port.
        secure: Whether it speaks TLS.
    """

    ae: str
    host: str
    port: int
    secure: bool


class Commitments:
    """Takes requests to commit, and answers them, until it is closed.

    Args:
        settings: Of the door.
        store: What is held.
    """

    def __init__(self, settings: DicomSettings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._waiting: list[tuple[float, int, int, _Request, _Away]] = []
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._bring, name="commitments", daemon=True)
        self._thread.start()

    def asked(self, event: Any) -> tuple[int, None]:
        """Take an N-ACTION; return its status."""
        if event.action_type != _REQUEST:
            return _NO_SUCH_ACTION, None
        if event.request.RequestedSOPInstanceUID != _INSTANCE:
            return _NO_SUCH_INSTANCE, None
        try:
            request = _read(event.action_information)
        except Exception:  # pydicom fails in a dozen ways at arbitrary bytes
            return _BAD_ARGUMENT, None
        uids = {request.transaction, *itertools.chain.from_iterable(request.instances)}
        if not request.instances or not all(map(_UID.fullmatch, uids)):
            return _BAD_ARGUMENT, None
        if len(request.instances) > _MOST:
            return _TOO_MUCH, None
        association = event.assoc
        if association.peer.port is None:
            number = event.context.context_id
            association.reports.append(lambda on: self._say(on, number, request))
            return 0x0000, None
        away = _Away(
            association.peer.ae, association.host, association.peer.port, association.secure
        )
        with self._changed:
            waiting = sum(len(each[3].instances) for each in self._waiting)
            if len(self._waiting) >= _WAITING or waiting >= _WAITING_INSTANCES:
                return _TOO_MUCH, None
            self._add(0.0, 0, request, away)
        return 0x0000, None

    def close(self) -> None:
        """Bring no more answers: peers ask again."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_LEAVE_S)  # it may wait for a peer

    def _add(self, wait_s: float, tries: int, request: _Request, away: _Away) -> None:
        due = time.monotonic() + wait_s
        heapq.heappush(self._waiting, (due, next(self._numbers), tries, request, away))
        self._changed.notify()

    def _bring(self) -> None:
        """Bring answers to the peers' ports, in the order in which they are due."""
        while True:
            with self._changed:
                while not self._closed and (
                    not self._waiting or self._waiting[0][0] > time.monotonic()
                ):
                    due = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._changed.wait(due)
                if self._closed:
                    return
                _, _, tries, request, away = heapq.heappop(self._waiting)
            try:
                told = self._tell(request, away)
            except Exception:
                _LOG.exception("an answer to a request to commit could not be made")
                told = False
            if not told and tries < len(_AGAIN_S):
                with self._changed:
                    self._add(_AGAIN_S[tries], tries + 1, request, away)

    def _tell(self, request: _Request, away: _Away) -> bool:
        """Bring an answer on an association of ours; return whether the peer took it."""
        from pynetdicom import AE, build_role

        ours = AE(ae_title=self._settings.ae)
        ours.connection_timeout = CONNECT_S
        ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = ANSWER_S
        ours.add_requested_context(PUSH_MODEL)
        tls = self._settings.tls
        association = ours.associate(
            away.host,
            away.port,
            ae_title=away.ae,
            ext_neg=[build_role(PUSH_MODEL, scp_role=True)],
            tls_args=(client_context(tls), None) if away.secure and tls else None,
        )
        if not association.is_established:
            return False
        keep_answers(association)
        try:
            report, kind = self._report(request)
            status, _ = association.send_n_event_report(report, kind, PUSH_MODEL, _INSTANCE)
            return bool(status.get("Status") == 0x0000)
        except (RuntimeError, ValueError):  # it ended, or does not let us report
            return False
        finally:
            association.acse_timeout = _RELEASE_S
            with suppress(RuntimeError):
                association.release()

    def _say(self, association: Any, context_id: int, request: _Request) -> None:
        """Send an answer on the association of the request."""
        from pynetdicom.dimse_primitives import N_EVENT_REPORT
        from pynetdicom.dsutils import encode

        report, kind = self._report(request)
        syntax = association._accepted_cx[context_id].transfer_syntax[0]
        content = encode(report, syntax.is_implicit_VR, syntax.is_little_endian)
        message = N_EVENT_REPORT()
        message.MessageID = next(self._numbers) % 65535 + 1
        message.AffectedSOPClassUID, message.AffectedSOPInstanceUID = PUSH_MODEL, _INSTANCE
        message.EventTypeID, message.EventInformation = kind, io.BytesIO(content or b"")
        association.dimse.send_msg(message, context_id)

    def _report(self, request: _Request) -> tuple[Any, int]:
        """Return the information of an N-EVENT-REPORT, and its Event Type ID."""
        from pydicom import Dataset

        try:
            reasons = why_not_held(self._store, request.instances)
        except OSError:
            reasons = dict.fromkeys(request.instances, UNCLEAR)
        report = Dataset()
        report.TransactionUID = request.transaction
        held, failed = [], []
        for sop_class, sop_uid in request.instances:
            one = Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, sop_uid
            reason = reasons.get((sop_class, sop_uid))
            if reason is None:
                held.append(one)
            else:
                one.FailureReason = reason
                failed.append(one)
        if held:
            report.ReferencedSOPSequence = held
        if failed:
            report.FailedSOPSequence = failed
        return report, _SOME_FAILED if failed else _ALL_HELD


def _read(information: Any) -> _Request:
    return _Request(
        str(information.TransactionUID),
        [
            (str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
            for one in information.ReferencedSOPSequence
        ],
    )
