"""Receive the bodies of requests: counted and timed, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Final

import numpy as np
import numpy.typing as npt
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from darnet_trt.errors import Finding
from darnet_trt.runtime.serving.http.protocol import POUR, Pour

PAUSE_S: Final = 20.0
"""How long a body may pause, and how long it may take to become as fast as it must be."""
_PIECE: Final = 1 << 20
_LONGEST_S: Final = 3600.0  # for a piece at the slowest pace that may be asked for
_NO_MEMORY: Final = Finding("memory", "the memory for requests is in use")
_ALIGNED: Final = 64  # bytes; engines read vectors of so many


class Body:
    """The body of a request, while it comes.

    Args:
        request: The request, of whose body nothing was read.
        most: Most bytes.
        slowest: Fewest bytes a second.

    Attributes:
        length: Its bytes as its header says; None: it comes in chunks of unknown number.
        received: Bytes that came.

    Raises:
        HTTPException: It is longer than `most` (413), or packed (415).
    """

    def __init__(self, request: Request, most: int, slowest: int) -> None:
        packed = request.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            raise HTTPException(
                415, f"a body packed by {packed[:40]} is not taken: send it as it is"
            )
        length = request.headers.get("content-length")
        self.length = int(length) if length is not None else None  # the parser of HTTP checked it
        self.received = 0
        self._pour: Pour = request.scope["extensions"][POUR]
        self._receive, self._most, self._slowest = request.receive, most, slowest
        self._waited_s = 0.0
        self._more = True
        if self.length is not None and self.length > most:
            raise self._too_long(self.length)

    async def read(self) -> bytes:
        """Return the next piece; empty at the end.

        Raises:
            ClientDisconnect: Who sends it hung up.
            HTTPException: It is longer than allowed (413), or too slow (408).
        """
        while self._more:
            clock = asyncio.get_running_loop()
            patience_s = PAUSE_S + self.received / self._slowest - self._waited_s
            began = clock.time()
            try:
                async with asyncio.timeout(min(patience_s, PAUSE_S)):
                    message = await self._receive()
            except TimeoutError:
                raise self._too_slow() from None
            self._waited_s += clock.time() - began
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._more = message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self.received += len(piece)
            if self.received > self._most:
                raise self._too_long(self.received)
            if piece:
                return piece
        return b""

    async def read_into(self, memory: memoryview) -> None:
        """Receive so many bytes as the memory has, which are all that come.

        `read` has returned just before, so that nothing waits in the connection.

        Raises:
            ClientDisconnect: Who sends them hung up.
            HTTPException: They are too slow (408).
        """
        pour, filled = self._pour, 0
        pour.begin(memory)
        try:
            while not pour.ended.is_set():
                try:
                    async with asyncio.timeout(PAUSE_S):
                        await pour.ended.wait()
                except TimeoutError:
                    if pour.filled - filled < PAUSE_S * self._slowest:
                        raise self._too_slow() from None
                    filled = pour.filled
        finally:
            pour.end()
        self.received += pour.filled
        if pour.filled < len(memory) or await self.read():
            raise ClientDisconnect

    async def _read_piece(self) -> bytes:
        """Return the next pieces together, of some size: for threads, which are slow to wake."""
        pieces = [await self.read()]
        size = len(pieces[0])
        while pieces[-1] and size < _PIECE:
            pieces.append(await self.read())
            size += len(pieces[-1])
        return b"".join(pieces)

    def in_thread(self, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
        """Yield its pieces in another thread than the loop's.

        Raises:
            ClientDisconnect: Who sends it hung up, or the service ends.
            HTTPException: It is longer than allowed (413), or too slow (408).
        """
        while True:
            coming = asyncio.run_coroutine_threadsafe(self._read_piece(), loop)
            try:
                piece = coming.result(_LONGEST_S)  # in time, unless the loop has ended
            except (TimeoutError, CancelledError):
                raise ClientDisconnect from None
            if not piece:
                return
            yield piece

    def _too_slow(self) -> HTTPException:
        text = f"the body came slower than {self._slowest:,} bytes a second: it is ended"
        return HTTPException(408, text, {"Connection": "close"})

    def _too_long(self, length: int) -> HTTPException:
        return HTTPException(
            413, f"the body has {length:,} bytes, at most {self._most:,} are taken"
        )


class Buffer:
    """A body in one piece of memory.

    Args:
        length: Its bytes.
        head: How many of them come before the tensor, which is to lie where engines read it best.

    Attributes:
        filled: How many are there.
    """

    def __init__(self, length: int, head: int) -> None:
        memory = np.empty(length + 2 * _ALIGNED, np.uint8)
        start = -(memory.ctypes.data + head) % _ALIGNED
        self._bytes = memory[start : start + length]
        self._view = self._bytes.data
        self.filled = 0

    async def fill(self, body: Body, upto: int) -> None:
        """Receive at least so many bytes, and whatever comes with them.

        Raises:
            ClientDisconnect: Who sends them hung up.
            HTTPException: They are too slow (408).
        """
        while self.filled < upto:
            piece = await body.read()
            self._view[self.filled : self.filled + len(piece)] = piece
            self.filled += len(piece)

    async def fill_up(self, body: Body) -> None:
        """Receive all, the faster way.

        Raises:
            ClientDisconnect: Who sends them hung up.
            HTTPException: They are too slow (408).
        """
        if not self.filled and self._view:
            await self.fill(body, 1)  # what came until now waits in the connection
        if self.filled < len(self._view):
            await body.read_into(self._view[self.filled :])
            self.filled = len(self._view)

    def text(self, upto: int) -> memoryview:
        """Return its first bytes."""
        return self._view[:upto]

    def tensor(self, start: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return what stands from a byte on, as float32 of a shape."""
        return self._bytes[start:].view("<f4").reshape(shape)
