"""Do what uvicorn's own protocol does not: limit connections, heads of requests and silence.

And receive a large body without a copy and a task's turn for each of its pieces.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

LARGEST_HEAD: Final = 1 << 15
"""Bytes of a request's line and headers; browsers send some hundred."""
SILENCE_S: Final = 30.0
"""How long a connection may be open without a whole head of a request, and how long a client may
take none of an answer."""
_PIECE: Final = 1 << 18  # bytes that come at once, of which the head may be a part


class Pour(asyncio.BufferedProtocol):
    """Takes the rest of a body from the connection into memory, in its protocol's place.

    Args:
        protocol: The protocol.

    Attributes:
        filled: How many bytes are there.
        ended: Set when the memory is full, or when the connection is lost.
    """

    def __init__(self, protocol: _Protocol) -> None:
        self.filled = 0
        self.ended = asyncio.Event()
        self._protocol: _Protocol | None = protocol
        self._left = memoryview(b"")

    def begin(self, into: memoryview) -> None:
        """Let what comes from now on go into memory, until it is full."""
        assert self._protocol is not None
        self._left = into
        self._protocol.change(self)

    def end(self) -> None:
        """Let the protocol go on; the connection is of no more use unless the memory is full."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.change(protocol, whole=not self._left)
            self._left = memoryview(b"")
        self.ended.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        return self._left

    def buffer_updated(self, nbytes: int) -> None:
        """Note that so many came."""
        self.filled += nbytes
        self._left = self._left[nbytes:]
        if not self._left:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell both who wait."""
        protocol = self._protocol
        self.end()
        if protocol is not None:
            protocol.connection_lost(exc)


POUR: Final = "darnet.pour"
"""Names the `Pour` among a request's extensions."""


def limited(connections: int) -> type[HttpToolsProtocol]:
    """Return the protocol for at most so many connections at once."""
    return type("Protocol", (_Protocol,), {"most": connections})


class _Protocol(HttpToolsProtocol):  # type: ignore[misc]  # httptools has no types
    most: int

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._silence: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head = self._since_head = 0
        self._fault = (400, "this is no HTTP request")

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most and not self._takes_a_place():
            self._fault = (503, f"more than {self.most} connections: try again later")
            self.send_400_response("")
        else:
            self._wait()

    def _takes_a_place(self) -> bool:
        """End the connection that asks for nothing for longest; return False where each asks."""
        silent = [each for each in self.connections if each is not self and each.is_silent()]
        if silent:
            min(silent, key=lambda each: each._silence.when()).transport.close()
        return bool(silent)

    def is_silent(self) -> bool:
        """Return whether no request of this connection is under way."""
        waits = self._silence is not None and not self._silence.cancelled()
        return waits and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:  # the parser holds back a header until it is whole
            self._since_head += len(data)
            if self._since_head > LARGEST_HEAD + _PIECE:
                self._too_long()
                self.send_400_response("")
                return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and end the connection."""
        status, text = self._fault
        body = json.dumps({"error": text}).encode()
        head = (
            b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n"
            % len(body)
        )
        if status == 503:
            head += b"retry-after: 1\r\n"
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head, self._since_head = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # those behind a body are of no use here
            self._count(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel()
        self.scope["extensions"] = {POUR: Pour(self)}
        super().on_headers_complete()

    def change(self, to: asyncio.BaseProtocol, *, whole: bool = False) -> None:
        """Let another protocol read; the transport looks which kind it is when it begins to.

        Args:
            to: The other one, or this one again.
            whole: The body has come past the parser, which is to begin anew behind it.
        """
        self.flow.pause_reading()
        self.transport.set_protocol(to)
        if whole:
            self.parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:
            self._wait()  # the rest of a body that nobody reads must end by then, too

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(SILENCE_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > LARGEST_HEAD:
            self._too_long()
            raise httptools.HttpParserError

    def _too_long(self) -> None:
        self._fault = (431, f"the request's head has more than {LARGEST_HEAD:,} bytes")

    def _wait(self) -> None:
        self._cancel()
        if not self.transport.is_closing():
            self._silence = self.loop.call_later(SILENCE_S, self.transport.close)

    def _cancel(self) -> None:
        for timer in (self._silence, self._stalled):
            if timer is not None:
                timer.cancel()
