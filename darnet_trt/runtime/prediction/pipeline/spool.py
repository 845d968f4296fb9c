"""Keep bytes that wait: a few in memory, the others in files without a name."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Final

from darnet_trt.machine.files import cannot_keep
from darnet_trt.scan.discovery.examine import Stored

IN_MEMORY: Final = 16 * 2**20
"""Bytes: the headers of some ten studies of 300 slices."""
SEGMENT: Final = 64 * 2**20
"""Bytes of one file; it is given back to the disk when nothing in it waits any more."""


@dataclass
class _Segment:
    file: IO[bytes]
    end: int = 0
    waiting: int = 0


class Spool:
    """Keeps what waits; whatever ends the process, nothing stays on the disk.

    The files are readable by their owner alone and have no name (tempfile.TemporaryFile). Calls
    may come from any thread.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._room = in_memory
        self._segments: dict[int, _Segment] = {}
        self._last = 0
        self._changing = threading.Lock()

    def put(self, content: bytes) -> bytes | Stored:
        """Keep bytes; return what `take` gives them for.

        Raises:
            OutputError: The disk of temporary files is full.
        """
        with self._changing:
            if len(content) <= self._room:
                self._room -= len(content)
                return content
            try:
                return self._stored(content)
            except OSError as error:
                raise cannot_keep("the headers of scans that wait", error) from error

    def _stored(self, content: bytes) -> Stored:
        segment = self._segments.get(self._last)
        if segment is None or segment.end >= SEGMENT:
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it stays open)
            self._last += 1
            segment = self._segments[self._last] = _Segment(file)
        start, rest = segment.end, memoryview(content)
        segment.file.seek(start)
        while rest:
            rest = rest[segment.file.write(rest) :]
        segment.end += len(content)
        segment.waiting += 1
        return Stored(self._last << 40 | start, len(content))

    def take(self, kept: bytes | Stored) -> bytes:
        """Return what was kept, once."""
        with self._changing:
            if isinstance(kept, bytes):
                self._room += len(kept)
                return kept
            number, start = kept.offset >> 40, kept.offset & (1 << 40) - 1
            segment = self._segments[number]
            segment.file.seek(start)
            content = segment.file.read(kept.length)
            segment.waiting -= 1
            if not segment.waiting:
                segment.file.close()
                del self._segments[number]
            return content

    def close(self) -> None:
        """Give the files back."""
        with self._changing:
            for segment in self._segments.values():
                segment.file.close()
            self._segments.clear()
