"""One association: pynetdicom's protocol on one thread, within our limits.

pynetdicom runs two threads an association, which look a thousand times a second whether something
is to be done; reads 4 KiB at a time; believes each length that a peer names; waits without end for
the rest of a PDU; and keeps a thread for half a minute where a connection asks for nothing. Here
one thread waits for its socket, and hands what comes to pynetdicom's own state machine (PS3.8
section 9.2), negotiation and services.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import NotificationEvent
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE
from pynetdicom.transport import AddressInformation

from darnet_trt.runtime.serving.dicom.command import StoreRequest, store_answer
from darnet_trt.runtime.serving.dicom.contexts import supported
from darnet_trt.runtime.serving.dicom.limits import ASSOCIATE_S, LINGER_S, LONGEST_PDU
from darnet_trt.runtime.serving.dicom.messages import Messages
from darnet_trt.runtime.serving.dicom.wire import HEAD, Wire
from darnet_trt.runtime.serving.network.budget import Budget

if TYPE_CHECKING:
    from pynetdicom import AE

_LOOKS_S: Final = 0.25
"""How often an association that waits looks whether it should end."""
_ABORT: Final = b"\x07\0\0\0\0\4\0\0\2\0"
"""An A-ABORT of the service provider (PS3.8 section 9.3.8)."""
_ASSOCIATED, _CLOSING = "Sta6", "Sta13"  # states, and events (PS3.8 tables 9-1 to 9-10)
_CLOSED, _INVALID = "Evt17", "Evt19"
_P_DATA: Final = b"\4"


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

    def store(
        self, association: Acceptor, request: StoreRequest, abstract: str, syntax: str
    ) -> tuple[int, str]:
        """Keep an object; return its status and a comment.

        Args:
            association: It comes on.
            request: It.
            abstract: The abstract syntax of its presentation context.
            syntax: Its transfer syntax.
        """

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
    """

    dul: _Provider
    dimse: Messages

    def __init__(self, rules: Rules, connection: socket.socket, address: tuple[Any, ...]) -> None:
        super().__init__(rules.ae, MODE_ACCEPTOR)
        self.rules, self.connection = rules, connection
        self.host, self.secure = str(address[0]), isinstance(connection, ssl.SSLSocket)
        self.peer: Any = None
        self.reports: list[Any] = []
        self.dul, self.dimse = _Provider(self), Messages(self, rules.budget)
        self.acse_timeout = ASSOCIATE_S
        self.set_socket(Wire(self, connection))
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
            self._untie()

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
            context_id, message = self.dimse.get_msg()
            if message is not None:
                if isinstance(message, StoreRequest):
                    self._store(message)
                else:
                    self._serve_request(message, context_id or 0)
                self.dimse.forget()
            elif self.dul.state_machine.current_state == _CLOSING:
                return False
            elif self.reports and not self.dimse.begun():
                self.reports.pop(0)(self)
            else:
                return self._wait()
        return True

    def _wait(self) -> bool:
        """Wait for the peer, and read a PDU; return False when it is not worth waiting for."""
        stopping = self.rules.stopping.is_set() and not self.dimse.begun()
        if not stopping and self.dul.socket.wait(_LOOKS_S):
            self.dul.read()
            self._heard = time.monotonic()
            return True
        associated = self.dul.state_machine.current_state == _ASSOCIATED
        longest = self.rules.idle_s if associated else ASSOCIATE_S
        if not stopping and time.monotonic() - self._heard < longest:
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
        self.dul.socket.be_patient(self.rules.idle_s)
        self.acse.negotiate_association()

    def _store(self, request: StoreRequest) -> None:
        context = self._accepted_cx.get(request.context_id)
        if context is None:
            self.abort(block=False)
            return
        classes = str(context.abstract_syntax), str(context.transfer_syntax[0])
        status, comment = self.rules.store(self, request, *classes)
        self.dul.socket.send(store_answer(request, status, comment))

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve a message; pynetdicom's would not end the association where it is no request."""
        if isinstance(msg, N_EVENT_REPORT) and msg.is_valid_response:
            return  # to one of `reports`
        if context_id not in self._accepted_cx or not msg.is_valid_request:
            self.abort(block=False)
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

    def _untie(self) -> None:
        """Free what pynetdicom ties in circles, buffers too, without the garbage collector."""
        socket, machine = self.dul.socket, self.dul.state_machine
        parts = self.acse, self.dul, self.dimse, self.requestor, self.acceptor, socket, machine
        for part in parts:
            part.__dict__.clear()


class _Provider(DULServiceProvider):  # type: ignore[misc]
    """pynetdicom's upper layer on the association's own thread."""

    assoc: Acceptor
    socket: Wire

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.turn()

    def read(self) -> None:
        """Read a PDU, and do what follows from it."""
        head = bytes(self.socket.peek(HEAD))
        if self.state_machine.current_state == _ASSOCIATED and head[:1] == _P_DATA:
            self._read_data(head)
        else:
            self._read_pdu_data()
        self.turn()

    def turn(self) -> None:
        """Do what has come, and then what we want to send."""
        while not self._kill_thread:
            if self.event_queue.empty() and not self._process_recv_primitive():
                return
            self.state_machine.do_action(self.event_queue.get_nowait())

    def _read_data(self, head: bytes) -> None:
        """Read a P-DATA-TF without copying it: these are nearly all that comes."""
        length = int.from_bytes(head[2:], "big") if len(head) == HEAD else 0
        if length > LONGEST_PDU:
            self.event_queue.put(_INVALID)
            return
        whole = self.socket.peek(HEAD + length)
        if len(whole) < HEAD + length or not length:
            self.event_queue.put(_CLOSED)
            return
        values, at = [], HEAD
        while at < len(whole):
            size = int.from_bytes(whole[at : at + 4], "big")
            value = whole[at + 5 : at + 4 + size]
            if size < 2 or len(value) != size - 1:
                self.event_queue.put(_INVALID)
                return
            values.append((whole[at + 4], value))
            at += 4 + size
        try:
            self.assoc.dimse.receive_values(values)
        except Exception:  # pynetdicom fails in many ways at arbitrary bytes
            self.event_queue.put(_INVALID)
        self.socket.skip(len(whole))
