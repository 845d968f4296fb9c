"""Ask a peer to commit itself to keep what it stored (PS3.4 Annex J), and hear its answer.

The answer comes later: on an association that the peer opens to our port, or on ours while it is
still open. It names the transaction of the request, a random UID that only the peer knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.errors import UsageError
from darnet_trt.runtime.delivery.peers.answers import PeerFailure, Sendable
from darnet_trt.runtime.delivery.peers.dimse import ANSWER_S, Link

if TYPE_CHECKING:
    from pynetdicom.transport import ThreadedAssociationServer

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class."""
_INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # the one instance of it, which all requests name
_REQUEST: Final = 1  # Action Type ID (PS3.4 J.3.2)

Committed = Callable[[str, Sequence[str], dict[str, int]], None]
"""Takes a transaction, the SOP instances that are committed, and the reasons for the others."""


class Listener:
    """Our own port, to which peers bring their answers, until it is closed.

    Args:
        ae: Our application entity title.
        port: To listen on, on all addresses of this machine; 0: a free one.
        committed: Called with each answer, from another thread; the peer is told that it arrived
            when this returns.

    Raises:
        UsageError: The port cannot be listened on.
    """

    def __init__(self, ae: str, port: int, committed: Committed) -> None:
        from pynetdicom import AE, evt
        from pynetdicom.sop_class import Verification

        self.handlers = [(evt.EVT_N_EVENT_REPORT, self._answer)]
        self._committed = committed
        ours = AE(ae_title=ae)
        ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = ANSWER_S
        ours.add_supported_context(Verification)  # so that the peer's side can be tried out
        # We use the service that the peer provides, although the peer opens the association.
        ours.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        try:
            started = ours.start_server(("", port), block=False, evt_handlers=self.handlers)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"port {port} cannot be listened on ({reason})",
                where="--listen",
                do="choose another, and tell the peer",
            ) from error
        assert started is not None
        self._server: ThreadedAssociationServer = started

    def _answer(self, event: Any) -> tuple[int, None]:
        """Take an N-EVENT-REPORT; return its status."""
        try:
            said = event.event_information
            done = [
                str(one.ReferencedSOPInstanceUID) for one in said.get("ReferencedSOPSequence", ())
            ]
            failed = {
                # A reason must be there, and is not 0; without one: processing failure.
                str(one.ReferencedSOPInstanceUID): int(one.get("FailureReason") or 0x0110)
                for one in said.get("FailedSOPSequence", ())
            }
            transaction = str(said.TransactionUID)
        except (AttributeError, ValueError, TypeError):
            return 0x0115, None  # invalid argument value
        self._committed(transaction, done, failed)
        return 0x0000, None

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()


COMMITS_NOTHING: Final = frozenset({0x0112, 0x0122, 0x0211})
"""Statuses of the request that say that the peer has no such service."""


def ask(link: Link, objects: Sequence[Sendable], transaction: str) -> int:
    """Ask to commit objects; return the status, 0 where the peer takes the request.

    Args:
        link: An association that offers `PUSH_MODEL`.
        objects: What the peer stored.
        transaction: TransactionUID (0008,1195) of the request.

    Raises:
        PeerFailure: The association ended.
    """
    from pydicom import Dataset

    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = []
    for each in objects:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = each.sop_class, each.sop_uid
        request.ReferencedSOPSequence.append(one)
    try:
        status, _ = link.association.send_n_action(request, _REQUEST, PUSH_MODEL, _INSTANCE)
    except (RuntimeError, ValueError) as error:
        raise PeerFailure("ended the association") from error
    if "Status" not in status:
        raise PeerFailure("gave no answer to the request to commit")
    return int(status.Status)
