"""The port of a door: takes connections, each on a thread of its own, and speaks TLS with them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from darnet_trt.runtime.serving.dicom.limits import ASSOCIATE_S, STRANGERS
from darnet_trt.runtime.serving.network.addresses import listen

Address = tuple[Any, ...]
_HANDSHAKE: Final = b"\x16"
"""Begins TLS (RFC 8446 section 5.1); an association begins with 1."""
_WAITING: Final = 128
_CROWDED: Final = "connections that ask for no association are ended: there are too many"


class Listener:
    """A port that is listened on until it is closed; connections wait until it is started.

    Args:
        host: The address to listen on.
        port: 0 takes a free one.
        tls: What to speak TLS with; None: plain.
        plain: Takes an address; returns whether it may speak without TLS.
        connected: Called with each connection and its address, from a thread of its own; takes the
            connection over.
        refused: Called with a word for why a connection was ended before that, and a line for
            people.

    Attributes:
        port: That is listened on.

    Raises:
        UsageError: The port cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        plain: Callable[[str], bool],
        connected: Callable[[socket.socket, Address], None],
        refused: Callable[[str, str], None],
    ) -> None:
        self._tls, self._plain = tls, plain
        self._connected, self._refused = connected, refused
        self._strangers: dict[socket.socket, None] = {}  # in the order in which they came
        self._lock = threading.Lock()
        self._closed = False
        self._socket = listen(host, port, _WAITING, "--dicom")
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, name="DICOM door", daemon=True)

    def start(self) -> None:
        """Take connections from now on."""
        self._thread.start()

    def close(self) -> None:
        """Listen no longer; connections stay."""
        self._closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        with self._lock:
            for each in self._strangers:
                _cut(each)

    def known(self, connection: socket.socket) -> None:
        """Hear that a connection has associated, or ended: it is no stranger any more."""
        with self._lock:
            self._strangers.pop(connection, None)

    def _listen(self) -> None:
        while not self._closed:
            try:
                connection, address = self._socket.accept()
            except OSError:  # closed, or too many files are open
                threading.Event().wait(0 if self._closed else 0.1)
                continue
            with self._lock:
                if len(self._strangers) >= STRANGERS:
                    longest = next(iter(self._strangers))
                    del self._strangers[longest]
                    _cut(longest)
                    self._refused("crowded", _CROWDED)
                self._strangers[connection] = None
            begin = threading.Thread(
                target=self._begin, args=(connection, address), name="DICOM connection", daemon=True
            )
            try:
                begin.start()
            except RuntimeError:  # the system gives no more threads
                self._drop(connection, "crowded", _CROWDED)

    def _begin(self, connection: socket.socket, address: Address) -> None:
        try:
            spoken = self._spoken(connection, str(address[0]))
        except OSError:  # no handshake, no certificate, no answer
            spoken = None
        if spoken is None:
            text = f"{address[0]} spoke no TLS, or showed no certificate that --tls-clients signed"
            self._drop(connection, "tls", text)
            return
        if spoken is not connection:
            with self._lock:
                if self._strangers.pop(connection, 0) is None:
                    self._strangers[spoken] = None
        try:
            self._connected(spoken, address)
        except (RuntimeError, OSError):  # no more threads; or the peer has gone
            self._drop(spoken, "crowded", _CROWDED)

    def _drop(self, connection: socket.socket, why: str, text: str) -> None:
        self._refused(why, text)
        self.known(connection)
        connection.close()

    def _spoken(self, connection: socket.socket, host: str) -> socket.socket | None:
        """Return the connection, in TLS where it speaks that; None: it may not speak plainly.

        Raises:
            OSError: The handshake failed.
        """
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(ASSOCIATE_S)
        if self._tls is None:
            return connection
        first = connection.recv(1, socket.MSG_PEEK)
        if first != _HANDSHAKE:
            return connection if first and self._plain(host) else None
        return self._tls.wrap_socket(connection, server_side=True)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
