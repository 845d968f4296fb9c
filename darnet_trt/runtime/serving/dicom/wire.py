"""A peer's connection: reads no more, and no longer, than it should."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Any, Final

from pynetdicom.transport import AssociationSocket

from darnet_trt.runtime.serving.dicom.limits import ASSOCIATE_S, LONGEST_PDU

HEAD: Final = 6
"""Bytes of a PDU's type and length (PS3.8 section 9.3.1)."""


class Wire(AssociationSocket):  # type: ignore[misc]
    """The connection of an association.

    Args:
        assoc: pynetdicom's association.
        connection: Ready to be read.
    """

    def __init__(self, assoc: Any, connection: socket.socket) -> None:
        super().__init__(assoc, client_socket=connection)
        self.be_patient(ASSOCIATE_S)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._buffer = memoryview(bytearray(HEAD + LONGEST_PDU))
        self._start = self._end = 0

    def be_patient(self, seconds: float) -> None:
        """Wait so long for the rest of a PDU, and for the peer to take what is sent."""
        self._patience_s = seconds
        self.socket.settimeout(seconds)

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
        until = time.monotonic() + self._patience_s
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
