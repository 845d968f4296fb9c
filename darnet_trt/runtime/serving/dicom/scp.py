"""The door itself: takes what peers store, and answers when it is on the disk."""

from __future__ import annotations

import logging
import socket
import threading
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final

from darnet_trt.errors import (
    BusyError,
    Finding,
    OutputError,
    RefusedScanError,
    UnreadableScanError,
)
from darnet_trt.runtime.serving.dicom.command import StoreRequest
from darnet_trt.runtime.serving.dicom.commitment import Commitments
from darnet_trt.runtime.serving.dicom.limits import IN_FLIGHT, Pace
from darnet_trt.runtime.serving.dicom.listener import Address, Listener
from darnet_trt.runtime.serving.dicom.peers import check_closed, find_peer, may_speak_plain
from darnet_trt.runtime.serving.intake.store import Store
from darnet_trt.runtime.serving.network.budget import Budget
from darnet_trt.runtime.serving.network.tls import server_context
from darnet_trt.runtime.serving.settings import DicomSettings
from darnet_trt.runtime.serving.telemetry.seldom import Seldom

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.dicom.association import Acceptor

STORED: Final = 0x0000
NO_ROOM: Final = 0xA700
"""Out of resources: try again later (PS3.4 table B.2-1)."""
OTHER_OBJECT: Final = 0xA900
"""The data set is not what the command says."""
NOT_UNDERSTOOD: Final = 0xC000
"""The data set cannot be read."""
_FAILED: Final = 0x0110
_UNKNOWN_CALLER, _CROWDED = (1, 1, 3), (2, 3, 2)
_COMMENT: Final = 64  # characters of ErrorComment (0000,0902)
_OTHER_CLASS: Final = Finding("broken-dicom", "not of the class of its presentation context")
_LOG = logging.getLogger(__name__)


class DicomDoor:
    """Takes C-STORE, C-ECHO and requests to commit, until it is closed.

    Args:
        settings: Of the door.
        store: Where what comes is kept.

    Attributes:
        port: That is listened on.
        refused: Why associations and slices were refused → how many.

    Raises:
        UsageError: Anybody could send, a certificate is unusable, or the port is taken.
        MissingPackageError: pynetdicom is missing.
    """

    def __init__(self, settings: DicomSettings, store: Store) -> None:
        from pynetdicom import AE, evt

        check_closed(settings)
        self._settings, self._store = settings, store
        self.ae = AE(ae_title=settings.ae)
        self.ae.maximum_associations = 1 << 30  # it would count connections that ask for nothing
        self.pdu, self.idle_s = settings.pdu, settings.idle_s
        self.budget, self.stopping = Budget(IN_FLIGHT), threading.Event()
        self._commitments = Commitments(settings, store)
        self.handlers = [(evt.EVT_N_ACTION, self._commitments.asked)]
        self.refused: Counter[str] = Counter()
        self._seldom = Seldom(_LOG)
        self._pace = Pace(settings.slices_per_s)
        self._lock = threading.Lock()
        self._open: set[Acceptor] = set()
        self._associated: set[Acceptor] = set()
        # They log each broken byte with its stack, titles and addresses of peers, and values.
        for name in ("pynetdicom", "pydicom"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=r"pydicom\.")
        tls = None if settings.tls is None else server_context(settings.tls)
        self._listener = Listener(
            settings.host,
            settings.port,
            tls,
            lambda host: may_speak_plain(settings, host),
            self._serve,
            self._refuse,
        )
        self.port = self._listener.port
        self._listener.start()  # what it calls is there only now

    def associations(self) -> int:
        """Return how many associations are open."""
        return len(self._associated)

    def drain(self, until_s: float) -> bool:
        """Take no new association, and end those that are open between two slices.

        Args:
            until_s: How long to wait for slices that are coming in.

        Returns:
            Whether all have ended.
        """
        self.stopping.set()
        self._listener.close()
        until = time.monotonic() + until_s
        while self._open and time.monotonic() < until:
            time.sleep(0.02)
        return not self._open

    def close(self) -> None:
        """End everything at once."""
        self.drain(0)
        for each in tuple(self._open):
            each.cut()
        for each in tuple(self._open):
            each.join()
        self._commitments.close()

    def refuse(self, association: Acceptor) -> tuple[int, int, int] | None:
        """Decide on an association: see `Rules`."""
        self._listener.known(association.connection)
        found = find_peer(
            self._settings,
            association.requestor.ae_title.strip(),
            association.host,
            secure=association.secure,
        )
        if found is None:
            # Neither here nor below what the stranger wrote: it may be a patient's name.
            text = f"{association.host} may not send under its title: see --dicom-peer"
            self._refuse("peer", text)
            return _UNKNOWN_CALLER
        association.peer = found
        with self._lock:
            if len(self._associated) >= self._settings.associations:
                self.refused["associations"] += 1
                text = f"{len(self._associated)} associations are open; more are rejected"
                self._seldom.warn("associations", text)
                return _CROWDED
            self._associated.add(association)
        return None

    def store(
        self, association: Acceptor, request: StoreRequest, abstract: str, syntax: str
    ) -> tuple[int, str]:
        """Keep an object: see `Rules`. The statuses are those of PS3.4 section B.2.3."""
        from darnet_trt.runtime.serving.dicom.part10 import file_head

        peer = association.peer.ae
        self._pace.wait(peer or association.host, self.stopping)
        try:
            if not request.sop_uid or request.sop_class != abstract:
                raise RefusedScanError(_OTHER_CLASS)
            head = file_head(request.sop_class, request.sop_uid, syntax)
            content = b"".join((head, *request.parts))
            request.parts.clear()
            self._store.receive(
                content, peer=peer, sop_class=request.sop_class, sop_uid=request.sop_uid
            )
        except BusyError as error:
            status, why = NO_ROOM, error.what
        except RefusedScanError as error:
            status, why = OTHER_OBJECT, error.what
        except UnreadableScanError as error:
            status, why = NOT_UNDERSTOOD, error.what
        except OutputError as error:
            self._seldom.warn("disk", str(error))
            status, why = NO_ROOM, "the disk fails"
        except Exception:
            _LOG.exception("a slice could not be kept")
            status, why = _FAILED, "internal error"
        else:
            return STORED, ""
        told = f"slices from {association.host} are refused with status {status:04X}"
        self._refuse(f"{status:04X}", told)
        return status, why[:_COMMENT]

    def ended(self, association: Acceptor) -> None:
        """Forget an association: see `Rules`."""
        self._listener.known(association.connection)
        with self._lock:
            self._associated.discard(association)
            self._open.discard(association)

    def _serve(self, connection: socket.socket, address: Address) -> None:
        from darnet_trt.runtime.serving.dicom.association import Acceptor

        association = Acceptor(self, connection, address)
        with self._lock:
            association.start()
            self._open.add(association)

    def _refuse(self, why: str, told: str = "") -> None:
        with self._lock:
            self.refused[why] += 1
        if told:
            self._seldom.warn(why, told)
