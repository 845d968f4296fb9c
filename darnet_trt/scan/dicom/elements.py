"""Step over the elements of a DICOM file without interpreting them (PS3.5 section 7).

pydicom needs as long for three hundred headers as decoding their slices takes, and it reads what
it steps over. A CT header has some hundred elements of which some thirty are wanted, so `Elements`
steps over the others, in either byte order, with VRs and without, and stops at the pixels.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from typing import BinaryIO, Final

from darnet_trt.scan.dicom.attributes import FRAME_GROUPS, LUT, PER_FRAME, SHARED, WANTED

WINDOW: Final = 1 << 16
"""Bytes read at a time: holds nearly every classic CT header, and costs one system call."""
DEEPEST_SEQUENCE: Final = 32
"""Real headers nest three or four sequences; a corrupt one could nest thousands."""
MOST_ELEMENTS: Final = 1_000_000
"""Elements before the pixels: 10,000 frames of an enhanced CT with a hundred each."""
MOST_FRAMES: Final = 1 << 15
"""Frames of one file: 320 slices at a hundred times. A header of each is kept."""
LONGEST_VALUE: Final = 1 << 16
"""Bytes; a wanted attribute that is longer is malformed."""

PIXELS: Final = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData",
                 0x7FE00010: "PixelData"}  # fmt: skip
OFFSETS, LENGTHS = 0x7FE00001, 0x7FE00002  # ExtendedOffsetTable, ExtendedOffsetTableLengths
_OTHERS = frozenset({*PIXELS, OFFSETS, LENGTHS, LUT, SHARED, PER_FRAME})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED: Final = 0xFFFFFFFF
SHORT = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # 16-bit length
)
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # 32-bit length
_NAMES: Final = {vr: vr.decode("ascii") for vr in SHORT | LONG}

Raw = dict[int, tuple[str | None, bytes]]
"""Tag → VR (None where VRs are implicit) and bytes."""


class BrokenError(Exception):
    """The elements do not follow each other as the standard says."""


class CutError(Exception):
    """The file ends before its header does."""


def is_dicom(start: bytes) -> bool:
    """Return whether a file that starts with these ≥ 132 bytes is DICOM (PS3.10 section 7.1).

    Files of old archives have no preamble; they count if they start with group 0002 or 0008.
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 132 or start[:2] not in (b"\2\0", b"\x08\0", b"\0\x08"):
        return False
    big = start[0] == 0
    length_end = start[4:6] if big else start[6:8]
    return start[2 if big else 3] == 0 and (start[4:6] in SHORT or length_end == b"\0\0")


class Source:
    """A stream in windows, from its beginning to its end.

    Args:
        stream: The file, or its inflated part.
        size: Its bytes, or a limit on them.
    """

    __slots__ = ("base", "data", "size", "stream")

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size
        self.base, self.data = 0, b""

    def load(self, at: int) -> bytes:
        """Move the window to an offset and return it."""
        self.stream.seek(at)
        self.base, self.data = at, self.stream.read(WINDOW)
        return self.data

    def read(self, at: int, length: int) -> bytes:
        """Return bytes at an offset; fewer where the file ends. The window stays."""
        start = at - self.base
        if 0 <= start <= len(self.data) - length:
            return self.data[start : start + length]
        self.stream.seek(at)
        return self.stream.read(length)


class Elements:
    """The elements of a data set, of one encoding.

    Args:
        source: Where they are.
        implicit: Whether they have no VR.
        big_endian: Their byte order.
        wanted: Tags of the elements to keep.

    Attributes:
        found: The wanted elements of the data set itself.
        shared: Those of the functional groups that all frames share (PS3.3 C.7.6.16).
        frames: Those of each frame's own functional groups; None where there are none.
        tables: Byte (offset, length) of the extended offset table and its lengths.
    """

    def __init__(
        self,
        source: Source,
        *,
        implicit: bool,
        big_endian: bool,
        wanted: Iterable[int] = WANTED,
    ) -> None:
        order = ">" if big_endian else "<"
        self.source, self.implicit, self.big_endian = source, implicit, big_endian
        self._explicit_head = struct.Struct(f"{order}HH2sH").unpack_from
        self._implicit_head = struct.Struct(f"{order}HHI").unpack_from
        self._uint32 = struct.Struct(f"{order}I").unpack_from
        self._looked_at = _OTHERS.union(wanted)
        self._steps = 0
        self.found: Raw = {}
        self.shared: Raw = {}
        self.frames: list[Raw] | None = None
        self.tables: dict[int, tuple[int, int]] = {}

    def walk(self, at: int) -> tuple[int, bytes, int, int] | None:
        """Step from an offset to the pixels.

        Returns:
            Their tag, VR, length and the value's offset; None where there are none.

        Raises:
            CutError: The file ends within the header.
            BrokenError: It is no data set.
        """
        source, size, found, implicit = self.source, self.source.size, self.found, self.implicit
        implicit_head, explicit_head = self._implicit_head, self._explicit_head
        data, base, steps, vr = source.data, source.base, 0, b""
        last, looked_at = base + len(data) - 12, self._looked_at
        while at + 8 <= size:
            steps += 1
            if not base <= at <= last:
                data, base = source.load(at), at
                last = base + len(data) - 12
                if len(data) < 8:
                    raise CutError
                if steps > MOST_ELEMENTS:
                    raise BrokenError
            # What `element` does, for nearly all elements.
            if implicit:
                group, number, length = implicit_head(data, at - base)
                tag, value = group << 16 | number, at + 8
            else:
                group, number, vr, length = explicit_head(data, at - base)
                if vr in SHORT:
                    tag, value = group << 16 | number, at + 8
                else:
                    tag, vr, length, value = self.element(at)
                    data, base = source.data, source.base
            at = value + length
            if tag not in looked_at and length != UNDEFINED:
                continue
            if tag in PIXELS:
                return tag, vr, length, value
            if length == UNDEFINED or tag in _OTHERS:
                at = self._other(tag, vr, length, value)
                data, base = source.data, source.base
                last = base + len(data) - 12
            else:
                start = value - base
                content = data[start : start + length]
                if len(content) < length:
                    content = source.read(value, min(length, LONGEST_VALUE + 1))
                    if len(content) < length:
                        if at > size:
                            raise CutError
                        continue
                found[tag] = (_NAMES.get(vr), content)
        if at > size:
            raise CutError
        return None

    def element(self, at: int) -> tuple[int, bytes, int, int]:
        """Return tag, VR, length and the value's offset of the element at an offset."""
        source = self.source
        data, start = source.data, at - source.base
        if start < 0 or start + 12 > len(data):
            data, start = source.load(at), 0
            if len(data) < 8:
                raise CutError
        if not self.implicit:
            group, element, vr, length = self._explicit_head(data, start)
            if vr in SHORT:
                return group << 16 | element, vr, length, at + 8
            if vr in LONG:
                if len(data) < start + 12:
                    raise CutError
                return group << 16 | element, vr, self._uint32(data, start + 8)[0], at + 12
            if b"AA" <= vr <= b"ZZ" and group != 0xFFFE:  # a VR of the future, or a wrong one
                return group << 16 | element, b"UN", length, at + 8
        # Items and delimiters have no VR; nor have elements that some writers copy from elsewhere.
        group, element, length = self._implicit_head(data, start)
        return group << 16 | element, b"", length, at + 8

    def _nested(self, at: int) -> tuple[int, bytes, int, int]:
        """Return what `element` does, inside a sequence; give up on too many."""
        self._steps += 1
        if self._steps > MOST_ELEMENTS:
            raise BrokenError
        return self.element(at)

    def _other(self, tag: int, vr: bytes, length: int, at: int) -> int:
        """Step over a sequence or a table and return the offset after it; collect what is in it."""
        if tag >= 0xFFFE0000:
            raise BrokenError
        if tag == LUT:
            self.found[LUT] = (None, b"")
        if tag in (OFFSETS, LENGTHS):
            self.tables[tag] = (at, length)
        if tag == SHARED and vr != b"UN":
            return self._items(at, length, 0, functools.partial(_same, self.shared))
        if tag == PER_FRAME and vr != b"UN":
            self.frames = []
            return self._items(at, length, 0, self._next_frame)
        if length != UNDEFINED:
            return at + length
        return self._without_vr(at, 0) if vr == b"UN" else self._items(at, length, 0, None)

    def _without_vr(self, at: int, depth: int) -> int:
        """Step over a sequence of VR UN: its elements have no VR (PS3.5 section 6.2.2)."""
        inner = Elements(self.source, implicit=True, big_endian=False)
        inner._steps = self._steps
        end = inner._items(at, UNDEFINED, depth, None)
        self._steps = inner._steps
        return end

    def _next_frame(self) -> Raw:
        assert self.frames is not None
        if len(self.frames) >= MOST_FRAMES:
            raise BrokenError
        self.frames.append({})
        return self.frames[-1]

    def _items(self, at: int, length: int, depth: int, into: Callable[[], Raw] | None) -> int:
        """Step over items; `into` gives the place for what is wanted of each."""
        if depth > DEEPEST_SEQUENCE:
            raise BrokenError
        end = None if length == UNDEFINED else at + length
        while end is None or at < end:
            tag, vr, length, at = self._nested(at)
            if tag == SEQUENCE_END and end is None:
                return at
            if tag != ITEM or vr:
                raise BrokenError
            found = into() if into else None
            if found is None and length != UNDEFINED:
                at += length
            else:
                at = self._item(at, length, depth, found)
        return _exactly(at, end)

    def _item(self, at: int, length: int, depth: int, found: Raw | None) -> int:
        """Step over the elements of an item."""
        end = None if length == UNDEFINED else at + length
        while end is None or at < end:
            tag, vr, length, at = self._nested(at)
            if tag == ITEM_END and end is None:
                return at
            if found is not None and tag in FRAME_GROUPS and vr != b"UN":
                at = self._items(at, length, depth + 1, functools.partial(_same, found))
            elif length == UNDEFINED and vr == b"UN":
                at = self._without_vr(at, depth + 1)
            elif length == UNDEFINED:
                at = self._items(at, length, depth + 1, None)
            else:
                if found is not None and tag in WANTED and length <= LONGEST_VALUE:
                    bytes_ = self.source.read(at, length)
                    found[tag] = (vr.decode("ascii") if vr else None, bytes_)
                at += length
        return _exactly(at, end)


def _exactly(at: int, end: int) -> int:
    """Return the end of a sequence or item of defined length, which its content must not pass."""
    if at > end:
        raise BrokenError
    return end


def _same(found: Raw) -> Raw:
    """Return the place itself: the macros of a functional group hold one item each."""
    return found
