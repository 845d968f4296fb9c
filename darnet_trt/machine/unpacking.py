"""Read a packed file as a stream that can seek."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from typing import IO, Any, BinaryIO, Final, cast

GZIP: Final = b"\x1f\x8b"
"""The bytes that a gzip stream begins with (RFC 1952, section 2.3.1)."""
DEFLATE_RATIO: Final = 1032
"""Deflate, and so gzip, zlib and zip, packs at most this many bytes into one."""
IN_MEMORY: Final = 1 << 24
"""Bytes; a smaller file is kept while it is open, so that going back costs nothing."""
_LOCK = threading.Lock()  # zipfile counts its open files without one


def unpacked_stream(
    open_again: Callable[[], IO[bytes]], size: int, packed: BinaryIO | None = None
) -> BinaryIO:
    """Return the unpacked bytes as a stream that can seek and unpacks no more than is read.

    Its `read` raises OSError where the packed bytes are damaged.

    Args:
        open_again: Opens a stream of the unpacked bytes at their start.
        size: Of the unpacked bytes; the stream ends there, and it is an error if they do not.
        packed: Is closed with the stream.
    """
    return cast(BinaryIO, io.BufferedReader(_Unpacked(open_again, size, packed), 1 << 16))


class _Unpacked(io.RawIOBase):
    """The stream of `unpacked_stream`; it goes back by unpacking from the start again."""

    def __init__(
        self, open_again: Callable[[], IO[bytes]], size: int, packed: BinaryIO | None
    ) -> None:
        self._open_again, self._size, self._packed = open_again, size, packed
        self._stream: IO[bytes] | None = None
        self._unpacked = 0  # bytes that the stream has given
        self._at = 0
        self._kept = bytearray()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any, /) -> int:
        count = max(0, min(len(into), self._size - self._at))
        if self._size <= IN_MEMORY:
            missing = self._at + count - len(self._kept)
            if missing > 0:
                self._kept += self._next(missing)
            piece = bytes(self._kept[self._at : self._at + count])
        elif count:
            if self._at < self._unpacked:
                self._close_stream()
            while self._unpacked < self._at:
                if not self._next(min(1 << 20, self._at - self._unpacked)):
                    return 0
            piece = self._next(count)
        else:
            piece = b""
        into[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._close_stream()
        if self._packed is not None:
            self._packed.close()
        super().close()

    def _next(self, count: int) -> bytes:
        """Return the next bytes of the stream; at its end, check it."""
        try:
            if self._stream is None:
                with _LOCK:
                    self._stream = self._open_again()
            piece = self._stream.read(count)
            self._unpacked += len(piece)
            # the check sum is compared where the stream ends
            if self._unpacked == self._size and self._stream.read(1):
                raise EOFError("it holds more than it says")
        except Exception as error:  # zipfile, zlib and gzip fail in some ten ways
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise OSError(errno.EIO, f"damaged in its archive: {error}") from error
        return piece

    def _close_stream(self) -> None:
        if self._stream is not None:
            with _LOCK:
                self._stream.close()
        self._stream, self._unpacked = None, 0
