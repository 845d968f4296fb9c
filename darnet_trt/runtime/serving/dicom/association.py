"""One association: pynetdicom's protocol on one thread, within our limits.

pynetdicom runs two threads an association, which look a thousand times a second whether something
is to be done; reads 4 KiB at a time; believes each length that a peer names; waits without end for
the rest of a PDU; and keeps a thread for half a minute where a connection asks for nothing. Here
one thread waits for its socket, and hands what comes to pynetdicom's own state machine (PS3.8
section 9.2), negotiation and services.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import NotificationEvent
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation, AssociationSocket

from darnet_trt.runtime.serving.dicom.contexts import supported
from darnet_trt.runtime.serving.dicom.limits import (
    ASSOCIATE_S,
    LARGEST_MESSAGE,
    LINGER_S,
    LONGEST_COMMAND,
    LONGEST_PDU,
    SLOWEST,
    Budget,
)

if TYPE_CHECKING:
    from pynetdicom import AE

_LOOKS_S: Final = 0.25
"""How often an association that waits looks whether it should end."""
_ABORT: Final = b"\x07\0\0\0\0\4\0\0\2\0"
"""An A-ABORT of the service provider (PS3.8 section 9.3.8)."""
_ASSOCIATED, _CLOSING = "Sta6", "Sta13"


class Rules(Protocol):
    """What a door decides for its associations."""

    ae: AE
    pdu: int
    idle_s: float
    budget: Budget
    stopping: threading.Event
    handlers: list[tuple[Any, Any]]

    def refuse(self, association: Acceptor) -> tuple[int, int, int] | None:
        """Return result, source and reason of a refusal (PS3.8 section 9.3.4); None: it may."""

    def ended(self, association: Acceptor) -> None:
        """Hear that an association has ended."""


class Acceptor(Association):  # type: ignore[misc]
    """An association that a peer opens; a thread.

    Args:
        rules: The door's.
        connection: The peer's, ready for its request.
        address: Of the peer.

    Attributes:
        host: The peer's address.
        secure: Whether it speaks TLS.
        peer: What the door made of its title; for the door.
        reports: Sent when nothing else is: functions that send a message.
        answers: Message numbers of those that the peer answered.
    """

    dul: _Provider
    dimse: _Messages

    def __init__(self, rules: Rules, connection: socket.socket, address: tuple[Any, ...]) -> None:
        super().__init__(rules.ae, MODE_ACCEPTOR)
        self.rules, self.connection = rules, connection
        self.host, self.secure = str(address[0]), isinstance(connection, ssl.SSLSocket)
        self.peer: Any = None
        self.reports: list[Any] = []
        self.answers: set[int] = set()
        self.dul, self.dimse = _Provider(self), _Messages(self)
        self.acse_timeout = ASSOCIATE_S
        self.set_socket(_Socket(self, connection, rules.idle_s))
        self.name = "DICOM association"
        self.acceptor.ae_title = rules.ae.ae_title
        self.acceptor.maximum_length = rules.pdu
        self.acceptor.implementation_class_uid = rules.ae.implementation_class_uid
        self.acceptor.implementation_version_name = rules.ae.implementation_version_name
        self.acceptor.address_info = AddressInformation.from_tuple(connection.getsockname())
        self.requestor.address_info = AddressInformation.from_tuple(address)
        for event in self.get_events():
            if isinstance(event, NotificationEvent):  # they write every message into a log
                self._handlers[event] = []
        for event, handler in rules.handlers:
            self.bind(event, handler)
        self._heard = time.monotonic()

    def cut(self) -> None:
        """End it at once; called from another thread."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def run_reactor(self) -> None:
        """Serve the peer until it goes."""
        try:
            self.dul.turn()
            while self._step():
                pass
        except Exception:  # the peer broke the protocol in a way that pynetdicom does not expect
            with suppress(OSError):
                self.connection.sendall(_ABORT)
        finally:
            self.is_established = False
            self.dimse.forget()
            self._hang_up()
            self.rules.ended(self)

    def _step(self) -> bool:
        """Do the next thing; return False when the association has ended."""
        if self._kill or self.dul._kill_thread:
            return False
        said = self.dul.receive_pdu()
        if isinstance(said, A_ASSOCIATE):
            self._negotiate(said)
        elif isinstance(said, A_RELEASE):
            self.is_released, self.is_established = True, False
            self.acse.send_release(is_response=True)
        elif isinstance(said, A_ABORT | A_P_ABORT):
            return False
        else:
            number, message = self.dimse.get_msg()
            if message is not None:
                self._serve_request(message, number or 0)
                self.dimse.forget()
            elif self.dul.state_machine.current_state == _CLOSING:
                return False
            elif self.reports and self.dimse.message is None:
                self.reports.pop(0)(self)
            else:
                return self._wait()
        return True

    def _wait(self) -> bool:
        """Wait for the peer, and read a PDU; return False when it is not worth waiting for."""
        if self.dul.socket.wait(_LOOKS_S):
            self.dul.read()
            self._heard = time.monotonic()
            return True
        associated = self.dul.state_machine.current_state == _ASSOCIATED
        longest = self.rules.idle_s if associated else ASSOCIATE_S
        if self.rules.stopping.is_set() and self.dimse.message is None:
            longest = 0.0
        if time.monotonic() - self._heard < longest:
            return True
        if associated:
            self.abort(block=False)
        return False

    def _negotiate(self, request: A_ASSOCIATE) -> None:
        self.requestor.primitive = request
        self.requestor.ae_title = request.calling_ae_title
        refusal = self.rules.refuse(self)
        if refusal:
            self.acse.send_reject(*refusal)
            return
        self.acceptor.supported_contexts = supported(request.presentation_context_definition_list)
        self.acse.negotiate_association()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve a message; pynetdicom's would not serve a private class, nor answer a bad one."""
        if threading.current_thread() is not self:  # pynetdicom starts a thread for some
            self.dimse.msg_queue.put((context_id, msg))
        elif isinstance(msg, N_EVENT_REPORT) and msg.is_valid_response:
            self.answers.add(msg.MessageIDBeingRespondedTo or 0)
        elif context_id not in self._accepted_cx or not msg.is_valid_request:
            self.abort(block=False)
        elif isinstance(msg, C_STORE):
            StorageServiceClass(self).SCP(msg, self._accepted_cx[context_id])
        else:
            super()._serve_request(msg, context_id)

    def _hang_up(self) -> None:
        """Close the connection after the peer has read our last words."""
        with suppress(OSError):
            self.connection.settimeout(LINGER_S)
            self.connection.shutdown(socket.SHUT_WR)
            until = time.monotonic() + LINGER_S
            while time.monotonic() < until and self.connection.recv(1 << 16):
                pass
        self.connection.close()


class _Provider(DULServiceProvider):  # type: ignore[misc]
    """pynetdicom's upper layer on the association's own thread."""

    socket: _Socket

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.turn()

    def read(self) -> None:
        """Read a PDU, and do what follows from it."""
        self._read_pdu_data()
        self.turn()

    def turn(self) -> None:
        """Do what has come, and then what we want to send."""
        while not self._kill_thread:
            if self.event_queue.empty() and not self._process_recv_primitive():
                return
            self.state_machine.do_action(self.event_queue.get_nowait())


class _Socket(AssociationSocket):  # type: ignore[misc]
    """A connection that reads no more, and no longer, than it should."""

    def __init__(self, assoc: Any, connection: socket.socket, idle_s: float) -> None:
        super().__init__(assoc, client_socket=connection)
        connection.settimeout(idle_s)
        self._idle_s = idle_s
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Return whether there is something to read, after so many seconds at most."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        return bool(self._poll.poll(seconds * 1000))

    def recv(self, nr_bytes: int) -> bytearray:
        """Return bytes; fewer where the peer hangs up.

        Raises:
            OSError: They do not come, or are more than a PDU may have.
        """
        if nr_bytes > LONGEST_PDU:
            raise OSError("the PDU is too long")
        read = bytearray(nr_bytes)
        view, at, until = memoryview(read), 0, time.monotonic() + self._idle_s
        while at < nr_bytes:
            count = self.socket.recv_into(view[at:])
            if not count:
                return read[:at]
            at += count
            if time.monotonic() > until:
                raise TimeoutError
        return read

    def _shutdown_socket(self) -> None:
        """Leave the connection open: the association closes it when the peer has read all."""


class _Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """The messages of an association, within our limits."""

    assoc: Acceptor

    def __init__(self, assoc: Acceptor) -> None:
        super().__init__(assoc)
        self._size, self._began = 0, 0.0

    def receive_primitive(self, primitive: Any) -> None:
        """Take a part of a message, or end the association."""
        if self.message is None:
            self._began = time.monotonic()
        parts = primitive.presentation_data_value_list
        size = sum(len(data) for _, data in parts)
        command = any(data[0] & 1 for _, data in parts if data)
        limit = LONGEST_COMMAND if command and len(parts) == 1 else LARGEST_MESSAGE
        took = time.monotonic() - self._began
        slow = took > 60 and self._size < took * SLOWEST
        if slow or self._size + size > limit or not self.assoc.rules.budget.take(size):
            self.dul.event_queue.put("Evt19")  # an invalid PDU: ends the association
            return
        self._size += size
        try:
            super().receive_primitive(primitive)
        except Exception:  # pynetdicom fails in many ways at arbitrary bytes
            self.dul.event_queue.put("Evt19")

    def forget(self) -> None:
        """Give back the bytes of a message that was served, or never will be."""
        self.assoc.rules.budget.give(self._size)
        self._size = 0
