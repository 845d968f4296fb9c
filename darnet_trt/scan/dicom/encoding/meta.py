"""Find how a file's elements are written, from its meta information and its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from darnet_trt.scan.dicom.elements import LONG, SHORT, UNDEFINED, BrokenError, Elements, Source

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
NATIVE: Final = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
"""Transfer syntaxes of native pixels (PS3.5 annex A)."""

_SYNTAX = 0x00020010


@dataclass(frozen=True)
class Encoding:
    """Hold how the elements of a file are written.

    Attributes:
        syntax: TransferSyntaxUID (0002,0010); for native pixels the one that the bytes show, empty
            where the file names none.
        start: Where the data set begins.
        implicit: Whether its elements have no VR.
        big_endian: Their byte order.
    """

    syntax: str
    start: int
    implicit: bool
    big_endian: bool


def find_encoding(source: Source) -> Encoding:
    """Read the file meta information, and look at the first element after it.

    Files of old archives have no meta information, and some software copies a TransferSyntaxUID
    that the data set is not written in. The first element tells: a data set begins with a low
    group number, and two letters that are a VR cannot be the length of its first value.

    Raises:
        CutError: The file ends within it.
        BrokenError: It is no meta information.
    """
    at = 132 if source.read(128, 4) == b"DICM" else 0
    meta = Elements(source, implicit=False, big_endian=False)
    syntax = ""
    data = source.data  # the window moves where the meta information is longer than it
    while (data[at : at + 2] if source.data is data else source.read(at, 2)) == b"\2\0":
        tag, _, length, at = meta.element(at)
        if length == UNDEFINED:
            raise BrokenError
        if tag == _SYNTAX:
            syntax = source.read(at, min(length, 64)).rstrip(b"\0 ").decode("ascii", "replace")
        at += length
    first = source.read(at, 8)
    big_endian = first[:1] == b"\0" and first[1:2] != b"\0"
    implicit = first[4:6] not in SHORT and first[4:6] not in LONG
    if syntax == DEFLATED and implicit:  # nothing to be seen before it is inflated
        return Encoding(syntax, at, implicit=False, big_endian=False)
    if syntax in NATIVE:
        syntax = IMPLICIT if implicit else BIG_ENDIAN if big_endian else EXPLICIT
    return Encoding(syntax, at, implicit, big_endian)
