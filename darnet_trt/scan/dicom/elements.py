"""Step over the elements of a DICOM file without interpreting them (PS3.5 section 7).

pydicom needs as long for three hundred headers as decoding their slices takes. A CT header has
some hundred elements of which some thirty are wanted, so `walk` steps over the top-level elements
of the two little-endian encodings and collects their bytes. Whatever is not plain (deflated or
big-endian data, an unknown VR, a length that runs past the file, …) raises `UnusualError`.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from darnet_trt.scan.dicom.attributes import WANTED

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
"""Transfer syntaxes of native pixels, both little endian (PS3.5 annex A)."""

DEEPEST_SEQUENCE: Final = 32
"""Real headers nest three or four sequences; a corrupt one could nest thousands."""

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # 16-bit length
)
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # 32-bit length
_ELSEWHERE = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})  # deflated, big endian

_explicit_head = struct.Struct("<HH2sH").unpack_from
_implicit_head = struct.Struct("<HHI").unpack_from
_uint32 = struct.Struct("<I").unpack_from


class UnusualError(Exception):
    """The file is not plain; pydicom must read it."""


class TooShortError(Exception):
    """The bytes read so far end before the header does."""


def is_dicom(start: bytes) -> bool:
    """Return whether a file that starts with these ≥ 132 bytes is DICOM (PS3.10 section 7.1).

    Files of old archives have no preamble; they count if they start with group 0002 or 0008.
    """
    if start[128:132] == b"DICM":
        return True
    return (
        len(start) >= 132
        and start[0] in (2, 8)
        and start[1:2] == b"\0"
        and start[3] == 0
        and (start[4:6] in _SHORT or start[6:8] == b"\0\0")
    )


def walk(
    data: bytes, size: int
) -> tuple[str, bool, dict[int, tuple[str | None, bytes]], tuple[int, int] | None]:
    """Step over the elements up to the pixels.

    Args:
        data: The file's first bytes.
        size: Of the whole file.

    Returns:
        TransferSyntaxUID (0002,0010); whether VRs are implicit; tag → (VR, None where implicit;
        bytes) of the wanted elements; byte (offset, length) of the pixel data's value, or None.

    Raises:
        TooShortError: `data` ends before the header does.
        UnusualError: The file is not plain.
    """
    if data[128:132] != b"DICM":
        raise UnusualError
    syntax, at = "", 132
    while data[at : at + 2] == b"\x02\x00":  # file meta information: explicit little endian
        tag, _, length, value = _explicit_element(data, at)
        if tag == 0x00020010:
            syntax = data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        at = value + length  # an undefined length ends past the file, which is unusual below
    if at + 8 > size or not syntax or syntax in _ELSEWHERE:
        raise UnusualError
    implicit = syntax == IMPLICIT
    vr = data[at + 4 : at + 6]
    if implicit == (vr in _SHORT or vr in _LONG):
        raise UnusualError  # the encoding is not the one that the transfer syntax names

    raw: dict[int, tuple[str | None, bytes]] = {}
    element = _implicit_element if implicit else _explicit_element
    while at < size:
        tag, vr, length, value = element(data, at)
        if tag in _PIXELS:
            if tag != 0x7FE00010:
                raise UnusualError
            return syntax, implicit, raw, (value, length)
        if tag >= 0xFFFE0000:
            raise UnusualError
        if length == _UNDEFINED:
            if tag in WANTED or (vr != b"SQ" and not implicit):
                raise UnusualError
            at = _skip_sequence(data, value, implicit)
            continue
        at = value + length
        if tag in WANTED:
            if at > len(data):
                raise TooShortError
            raw[tag] = (None if implicit else vr.decode("ascii"), data[value:at])
    if at > size:
        raise UnusualError
    return syntax, implicit, raw, None


def _explicit_element(data: bytes, at: int) -> tuple[int, bytes, int, int]:
    """Return tag, VR, length and the value's offset of the element at an offset."""
    try:
        group, element, vr, length = _explicit_head(data, at)
        if vr in _SHORT:
            return group << 16 | element, vr, length, at + 8
        if vr in _LONG:
            return group << 16 | element, vr, _uint32(data, at + 8)[0], at + 12
    except struct.error:
        raise TooShortError from None
    if group == 0xFFFE:  # items and delimiters have no VR
        return group << 16 | element, b"", _uint32(data, at + 4)[0], at + 8
    raise UnusualError


def _implicit_element(data: bytes, at: int) -> tuple[int, bytes, int, int]:
    try:
        group, element, length = _implicit_head(data, at)
    except struct.error:
        raise TooShortError from None
    return group << 16 | element, b"", length, at + 8


def _skip_sequence(data: bytes, at: int, implicit: bool, depth: int = 0) -> int:
    """Return the offset after a sequence of undefined length whose first item is at an offset."""
    if depth > DEEPEST_SEQUENCE:
        raise UnusualError
    element = _implicit_element if implicit else _explicit_element
    while True:
        tag, _, length, at = _implicit_element(data, at)
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise UnusualError
        if length != _UNDEFINED:
            at += length
            continue
        while True:
            tag, vr, length, at = element(data, at)
            if tag == _ITEM_END:
                break
            if length != _UNDEFINED:
                at += length
            elif vr == b"SQ" or implicit:
                at = _skip_sequence(data, at, implicit, depth + 1)
            else:
                raise UnusualError


def locate_pixels(
    fd: int, data: bytes, size: int, head: tuple[int, int] | None
) -> tuple[tuple[tuple[int, int], ...] | None, str]:
    """Find the pixels in the file, and what is broken about them.

    Args:
        fd: The open file.
        data: Its first bytes.
        size: Of the whole file.
        head: Where `walk` found the pixel data.

    Returns:
        Byte (offset, length) of native pixels, or of each fragment of encapsulated ones (PS3.5
        section A.4), None where they cannot be found; and the defect, or nothing.
    """
    if head is None:
        return None, "no pixel data"
    offset, length = head
    if length != _UNDEFINED:
        if offset + length > size:
            return ((offset, size - offset),), (
                f"truncated: {size - offset} of {length} bytes of pixels"
            )
        return ((offset, length),), ""
    fragments = []
    while True:
        inside = offset + 8 <= len(data)
        item = data[offset : offset + 8] if inside else os.pread(fd, 8, offset)
        if len(item) < 8:
            return None, "truncated within its compressed pixels"
        group, element, length = _implicit_head(item, 0)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or length == _UNDEFINED or offset + 8 + length > size:
            return None, "truncated within its compressed pixels"
        fragments.append((offset + 8, length))
        offset += 8 + length
    if len(fragments) < 2:
        return None, "no compressed pixels after the offset table"
    return tuple(fragments[1:]), ""  # the first item is the basic offset table
