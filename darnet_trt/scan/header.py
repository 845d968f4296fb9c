"""The header of a DICOM file: the few attributes that reading a CT needs, and where its pixels lie.

Three hundred headers cost pydicom as long as decoding the slices costs. A CT header is some
hundred elements of which we want forty, so `_walk` steps over the top-level elements of the two
little-endian encodings (PS3.5 section 7) and collects raw bytes; their conversion is left to
pydicom, once for each distinct value. Whatever is not plain (deflated or big-endian data, an
unknown VR, a length that runs past the file, …) goes to `pydicom.dcmread`, the reader of record.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan.attributes import WANTED, convert, plain_value

__all__ = ["Header", "is_dicom", "read_header"]

FIRST_READ: Final = 1 << 16
"""Bytes read at first: holds nearly every classic CT header, and costs one system call."""
LARGEST_HEADER: Final = 1 << 24
"""Beyond this a header is left to pydicom, which does not need it in one piece."""

DEEPEST_SEQUENCE: Final = 32
"""Real headers nest three or four sequences; a corrupt one could nest thousands."""

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # 16-bit length
)
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # 32-bit length
_IMPLICIT = "1.2.840.10008.1.2"
_ELSEWHERE = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})  # deflated, big endian

_explicit_head = struct.Struct("<HH2sH").unpack_from
_implicit_head = struct.Struct("<HHI").unpack_from
_uint32 = struct.Struct("<I").unpack_from


@dataclass(frozen=True, slots=True)
class Header:
    """What one DICOM file says of itself.

    Attributes:
        path: The file.
        transfer_syntax: TransferSyntaxUID (0002,0010).
        values: Attribute keyword → str, int or float; a tuple of floats for positions, cosines
            and spacings, and of str for an ImageType or ConvolutionKernel of several values.
            Absent where the file has no such attribute, or an empty or malformed one.
        pixels: Byte (offset, length) of the pixel data: one for native pixels, one a fragment for
            encapsulated ones. None: let pydicom find them.
        defect: What is broken about the file although its header is readable, or empty.
    """

    path: Path
    transfer_syntax: str
    values: Mapping[str, Any]
    pixels: tuple[tuple[int, int], ...] | None
    defect: str = ""

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an attribute, or the default."""
        return self.values.get(keyword, default)


class _UnusualError(Exception):
    """The walker will not judge this file; pydicom shall."""


class _TooShortError(Exception):
    """The bytes read so far end before the header does."""


def is_dicom(start: bytes) -> bool:
    """Whether a file that starts with these ≥ 132 bytes is DICOM (PS3.10 section 7.1).

    Files of old archives without preamble count when they start with group 0002 or 0008.
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


def read_header(path: Path) -> Header:
    """Read one file's header.

    Raises:
        UnreadableScanError: No DICOM file, or broken before its pixels.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UnreadableScanError(
            f"cannot be opened ({error.strerror})", where=path, do="check its permissions"
        ) from error
    try:
        size = os.fstat(fd).st_size
        return _read(path, fd, size)
    except _UnusualError:
        return _read_with_pydicom(path)
    except OSError as error:
        raise UnreadableScanError(f"cannot be read ({error.strerror})", where=path) from error
    finally:
        os.close(fd)


def _read(path: Path, fd: int, size: int) -> Header:
    length = FIRST_READ
    while True:
        data = os.pread(fd, min(length, size), 0)
        if not is_dicom(data):
            raise UnreadableScanError("is not a DICOM file", where=path)
        try:
            syntax, implicit, raw, pixel_head = _walk(data, size)
            break
        except _TooShortError:
            if len(data) >= size or length >= LARGEST_HEADER:
                raise _UnusualError from None
            length *= 4
    values = convert(raw, implicit)
    pixels, defect = _locate_pixels(fd, data, size, pixel_head)
    if pixels is not None and not defect and syntax in (_IMPLICIT, "1.2.840.10008.1.2.1"):
        expected = _native_length(values)
        if expected is not None and pixels[0][1] < expected:
            defect = f"truncated: {pixels[0][1]} of {expected} bytes of pixels"
    return Header(path, syntax, values, pixels, defect)


def _walk(
    data: bytes, size: int
) -> tuple[str, bool, dict[int, tuple[str | None, bytes]], tuple[int, int] | None]:
    """Step over the elements up to the pixels.

    Returns:
        Transfer syntax, whether VRs are implicit, tag → (VR, bytes) of the wanted elements, and
        the (offset, length) of the pixel data's value, None where there is none.
    """
    if data[128:132] != b"DICM":
        raise _UnusualError
    syntax, at = "", 132
    while data[at : at + 2] == b"\x02\x00":  # file meta information: explicit little endian
        tag, _, length, value = _explicit_element(data, at)
        if tag == 0x00020010:
            syntax = data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        at = value + length  # an undefined length ends past the file, which is unusual below
    if at + 8 > size or not syntax or syntax in _ELSEWHERE:
        raise _UnusualError
    implicit = syntax == _IMPLICIT
    vr = data[at + 4 : at + 6]
    if implicit == (vr in _SHORT or vr in _LONG):
        raise _UnusualError  # encoded otherwise than the transfer syntax says

    wanted = WANTED
    raw: dict[int, tuple[str | None, bytes]] = {}
    element = _implicit_element if implicit else _explicit_element
    while at < size:
        tag, vr, length, value = element(data, at)
        if tag in _PIXELS:
            if tag != 0x7FE00010:
                raise _UnusualError
            return syntax, implicit, raw, (value, length)
        if tag >= 0xFFFE0000:
            raise _UnusualError
        if length == _UNDEFINED:
            if tag in wanted or (vr != b"SQ" and not implicit):
                raise _UnusualError
            at = _skip_sequence(data, value, implicit)
            continue
        at = value + length
        if tag in wanted:
            if at > len(data):
                raise _TooShortError
            raw[tag] = (None if implicit else vr.decode("ascii"), data[value:at])
    if at > size:
        raise _UnusualError
    return syntax, implicit, raw, None


def _explicit_element(data: bytes, at: int) -> tuple[int, bytes, int, int]:
    """Tag, VR, length and offset of the value of the element at an offset."""
    try:
        group, element, vr, length = _explicit_head(data, at)
        if vr in _SHORT:
            return group << 16 | element, vr, length, at + 8
        if vr in _LONG:
            return group << 16 | element, vr, _uint32(data, at + 8)[0], at + 12
    except struct.error:
        raise _TooShortError from None
    if group == 0xFFFE:  # items and delimiters have no VR
        return group << 16 | element, b"", _uint32(data, at + 4)[0], at + 8
    raise _UnusualError


def _implicit_element(data: bytes, at: int) -> tuple[int, bytes, int, int]:
    try:
        group, element, length = _implicit_head(data, at)
    except struct.error:
        raise _TooShortError from None
    return group << 16 | element, b"", length, at + 8


def _skip_sequence(data: bytes, at: int, implicit: bool, depth: int = 0) -> int:
    """Offset after a sequence of undefined length whose first item is at an offset."""
    if depth > DEEPEST_SEQUENCE:
        raise _UnusualError
    element = _implicit_element if implicit else _explicit_element
    while True:
        tag, _, length, at = _implicit_element(data, at)
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _UnusualError
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
                raise _UnusualError


def _locate_pixels(
    fd: int, data: bytes, size: int, head: tuple[int, int] | None
) -> tuple[tuple[tuple[int, int], ...] | None, str]:
    """Where the pixels lie, and what is broken about that."""
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


def _native_length(values: Mapping[str, Any]) -> int | None:
    try:
        bits = values["Rows"] * values["Columns"] * values["BitsAllocated"]
        return int(bits * values.get("SamplesPerPixel", 1) * values.get("NumberOfFrames", 1)) // 8
    except KeyError:
        return None


def _read_with_pydicom(path: Path) -> Header:
    """The reader of record."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as stream:
                preamble = stream.read(132)
                stream.seek(0)
                dataset = pydicom.dcmread(
                    stream, stop_before_pixels=True, force=preamble[128:] != b"DICM"
                )
                at_end = not stream.read(1)  # else it stopped before the pixels
            values = {
                keyword: plain
                for tag, keyword in WANTED.items()
                if tag in dataset and (plain := plain_value(dataset, tag)) is not None
            }
    except InvalidDicomError as error:
        raise UnreadableScanError("is not a DICOM file", where=path) from error
    except OSError as error:
        raise UnreadableScanError(
            f"cannot be read ({error.strerror or error})", where=path
        ) from error
    except Exception as error:  # pydicom fails in a dozen ways at arbitrary bytes
        raise UnreadableScanError(
            "is a broken DICOM file: its header cannot be read",
            where=path,
            do="copy it again from its source",
        ) from error
    if not values:
        raise UnreadableScanError(
            "is a broken DICOM file: no attribute of an image in it",
            where=path,
            do="copy it again from its source",
        )
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or _IMPLICIT)
    deflated = syntax == "1.2.840.10008.1.2.1.99"  # read whole before it is parsed
    defect = "no pixel data" if at_end and not deflated else ""
    return Header(path, syntax, values, None, defect)
