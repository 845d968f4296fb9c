"""One association: pynetdicom's protocol on one thread, within our limits.

pynetdicom runs two threads an association, which look a thousand times a second whether something
is to be done; reads 4 KiB at a time; believes each length that a peer names; waits without end for
the rest of a PDU; and keeps a thread for half a minute where a connection asks for nothing. Here
one thread waits for its socket, and hands what comes to pynetdicom's own state machine (PS3.8
section 9.2), negotiation and services.
"""

from __future__ import annotations

import io
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
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import NotificationEvent
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE, P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation, AssociationSocket

from darnet_trt.runtime.serving.dicom.contexts import supported
from darnet_trt.runtime.serving.dicom.limits import (
    ASSOCIATE_S,
    LARGEST_MESSAGE,
    LINGER_S,
    LONGEST_COMMAND,
    LONGEST_PDU,
    SLOW_AFTER_S,
    SLOWEST,
    Budget,
)

if TYPE_CHECKING:
    from pynetdicom import AE

_LOOKS_S: Final = 0.25
"""How often an association that waits looks whether it should end."""
_ABORT: Final = b"\x07\0\0\0\0\4\0\0\2\0"
"""An A-ABORT of the service provider (PS3.8 section 9.3.8)."""
_ASSOCIATED, _CLOSING = "Sta6", "Sta13"  # states, and events (PS3.8 tables 9-1 to 9-10)
_CLOSED, _INVALID = "Evt17", "Evt19"
_HEAD: Final = 6  # bytes of a PDU's type and length
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
        if isinstance(msg, N_EVENT_REPORT) and msg.is_valid_response:
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

    assoc: Acceptor
    socket: _Socket

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.turn()

    def read(self) -> None:
        """Read a PDU, and do what follows from it."""
        head = bytes(self.socket.peek(_HEAD))
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
        length = int.from_bytes(head[2:], "big") if len(head) == _HEAD else 0
        if length > LONGEST_PDU:
            self.event_queue.put(_INVALID)
            return
        whole = self.socket.peek(_HEAD + length)
        if len(whole) < _HEAD + length or not length:
            self.event_queue.put(_CLOSED)
            return
        values, at = [], _HEAD
        while at < len(whole):
            size = int.from_bytes(whole[at : at + 4], "big")
            value = whole[at + 5 : at + 4 + size]
            if size < 2 or len(value) != size - 1:
                self.event_queue.put(_INVALID)
                return
            values.append((whole[at + 4], value))
            at += 4 + size
        self.assoc.dimse.receive_values(values)
        self.socket.skip(len(whole))


class _Socket(AssociationSocket):  # type: ignore[misc]
    """A connection that reads no more, and no longer, than it should."""

    def __init__(self, assoc: Any, connection: socket.socket, idle_s: float) -> None:
        super().__init__(assoc, client_socket=connection)
        connection.settimeout(idle_s)
        self._idle_s = idle_s
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._buffer = memoryview(bytearray(_HEAD + LONGEST_PDU))
        self._start = self._end = 0

    def wait(self, seconds: float) -> bool:
        """Return whether there is something to read, after so many seconds at most."""
        if self._end > self._start:
            return True
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        return bool(self._poll.poll(seconds * 1000))

    def peek(self, count: int) -> memoryview:
        """Return the next bytes, until `skip`; fewer where the peer hangs up.

        Raises:
            OSError: They do not come in time.
        """
        until = time.monotonic() + self._idle_s
        while self._end - self._start < count:
            if self._start + count > len(self._buffer):
                left = self._end - self._start
                self._buffer[:left] = bytes(self._buffer[self._start : self._end])
                self._start, self._end = 0, left
            read = self.socket.recv_into(self._buffer[self._end :])
            if not read:
                break
            self._end += read
            if time.monotonic() > until:
                raise TimeoutError
        return self._buffer[self._start : min(self._start + count, self._end)]

    def skip(self, count: int) -> None:
        """Go on behind bytes that were read."""
        self._start += count
        if self._start == self._end:
            self._start = self._end = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Return bytes; fewer where the peer hangs up.

        Raises:
            OSError: They do not come in time, or are more than a PDU may have.
        """
        if nr_bytes > LONGEST_PDU:
            raise OSError("the PDU is too long")
        read = bytearray(self.peek(nr_bytes))
        self.skip(len(read))
        return read

    def _shutdown_socket(self) -> None:
        """Leave the connection open: the association closes it when the peer has read all."""


class Content(io.BytesIO):
    """A data set as it comes, in parts.

    Attributes:
        parts: Of what was written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []

    def write(self, part: Any, /) -> int:
        """Add a part."""
        self.parts.append(bytes(part))
        return len(part)


class _Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """The messages of an association, within our limits."""

    assoc: Acceptor

    def __init__(self, assoc: Acceptor) -> None:
        super().__init__(assoc)
        self.message: Any = None
        self._size, self._commands, self._began = 0, 0, 0.0

    def receive_values(self, values: list[tuple[int, memoryview]]) -> None:
        """Take presentation data values: parts of a message, or all of it."""
        if self.message is None:
            self._began = time.monotonic()
            self.message = DIMSEMessage()
            self.message.data_set = Content()
        if not self._fits(values):
            self.dul.event_queue.put(_INVALID)
            return
        part = P_DATA()
        part._presentation_data_value_list = values
        try:
            if self.message.decode_msg(part, self.assoc):
                message, self.message = self.message, None
                if not isinstance(message, C_STORE_RQ):
                    message.data_set = io.BytesIO(b"".join(message.data_set.parts))
                self.msg_queue.put((message.context_id, message.message_to_primitive()))
        except Exception:  # pynetdicom fails in many ways at arbitrary bytes
            self.dul.event_queue.put(_INVALID)

    def forget(self) -> None:
        """Give back the bytes of a message that was served, or never will be."""
        self.assoc.rules.budget.give(self._size)
        self._size = 0

    def _fits(self, values: list[tuple[int, memoryview]]) -> bool:
        """Count values; return whether they are within the limits."""
        size = sum(len(value) for _, value in values)
        took = time.monotonic() - self._began
        if took > SLOW_AFTER_S and self._size < took * SLOWEST:
            return False
        command = sum(len(value) for _, value in values if value[0] & 1)
        self._commands = command + (self._commands if self._size else 0)
        if self._commands > LONGEST_COMMAND or self._size + size > LARGEST_MESSAGE:
            return False
        if not self.assoc.rules.budget.take(size):
            return False
        self._size += size
        return True
