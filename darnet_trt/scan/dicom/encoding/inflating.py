"""Inflate a deflated data set (PS3.5 section A.5) as far as it is needed, and no further.

Ten megabytes of deflated zeros are ten gigabytes.
"""

from __future__ import annotations

import functools
import io
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from darnet_trt.machine.archives import open_file

LARGEST_HEADER: Final = 1 << 25
"""Inflated bytes before the pixels; headers of a thousand frames take some five megabytes."""
LARGEST_FILE: Final = 3 << 28
"""Inflated bytes of a whole file, which are kept while its frames are decoded: 1,500 frames of
512×512 pixels."""

_CHUNK = 1 << 16


class TooLargeError(Exception):
    """The inflated data are larger than they may be."""


class Inflating(io.RawIOBase):
    """The inflated bytes of a stream that can be read again.

    Args:
        stream: The file, at the beginning of the data set.
        limit: The most bytes to inflate.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._data = bytearray()
        self._at = 0

    def seek(self, at: int, whence: int = 0) -> int:
        """Go to an offset from the beginning."""
        self._at = at
        return at

    def read(self, length: int = -1) -> bytes:
        """Return bytes from here; fewer at the end.

        Raises:
            TooLargeError: They lie beyond the limit.
            zlib.error: The data are damaged.
        """
        self._inflate(self._at + length)
        found = bytes(memoryview(self._data)[self._at : self._at + length])
        self._at += len(found)
        return found

    def close(self) -> None:
        """Close the file too."""
        self._stream.close()
        super().close()

    def _inflate(self, end: int) -> None:
        """Inflate up to an offset, or to the limit or the stream's end."""
        inflater, data = self._inflater, self._data
        while len(data) < min(end, self._limit) and not inflater.eof:
            packed = inflater.unconsumed_tail or self._stream.read(_CHUNK)
            if not packed:
                return
            data += inflater.decompress(packed, min(end, self._limit) - len(data))
        if self._at >= self._limit and not inflater.eof:
            raise TooLargeError(f"more than {self._limit >> 20} MiB inflated")


@functools.lru_cache(maxsize=1)
def inflated(path: Path, start: int) -> Inflating:
    """Return a file's inflated data set; the last one is kept for its other frames."""
    stream = open_file(path)
    stream.seek(start)
    return Inflating(stream, LARGEST_FILE)
