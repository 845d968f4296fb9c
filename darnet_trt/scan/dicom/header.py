"""The header of a DICOM image: the attributes that reading a CT needs, and the place of its pixels.

A classic file is one image. An enhanced (multi-frame) CT is one image a frame: each gets its own
header, in the keywords of a classic one (PS3.3 A.38, C.7.6.16).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, cannot_read
from darnet_trt.machine.archives import open_file
from darnet_trt.scan.dicom.attributes import WANTED, convert, of_frame
from darnet_trt.scan.dicom.elements import (
    LENGTHS,
    OFFSETS,
    PIXELS,
    UNDEFINED,
    BrokenError,
    CutError,
    Elements,
    Source,
    is_dicom,
)
from darnet_trt.scan.dicom.encoding.inflating import (
    LARGEST_HEADER,
    Inflating,
    TooLargeError,
    inflated,
)
from darnet_trt.scan.dicom.encoding.meta import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    NATIVE,
    Encoding,
    find_encoding,
)
from darnet_trt.scan.dicom.encoding.places import (
    Place,
    find_fragments,
    fragments_of_frames,
    native_frames,
    offset_table,
)

ENHANCED_CT: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""Enhanced CT and legacy converted enhanced CT."""

_SIZE: Final = ("Rows", "Columns", "BitsAllocated")


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one image: of a DICOM file, or of a frame of one.

    Attributes:
        path: The file.
        transfer_syntax: TransferSyntaxUID (0002,0010); for native pixels the one that the file is
            really written in.
        values: Attribute keyword → str, int or float; a tuple of floats for positions, cosines
            and spacings, and of str for ImageType and ConvolutionKernel.
            Absent where the file has no such attribute, or an empty or malformed one.
        pixels: Byte (offset, length) of the pixel data: one for native pixels, one a fragment for
            encapsulated ones. Empty where they cannot be found.
        frame: Number of the frame, from 1, in an enhanced CT; None for a classic image.
        defect: What is broken in a file whose header is readable.
        conflict: Which entries of the header contradict each other.
        swapped: Bytes of each word of native pixels that are stored in reverse; 1: none.
        start: Where the deflated data set begins, in which `pixels` are offsets; else 0.
    """

    path: Path
    transfer_syntax: str
    values: Mapping[str, Any]
    pixels: tuple[Place, ...] = ()
    frame: int | None = None
    defect: Finding | None = None
    conflict: Finding | None = None
    swapped: int = 1
    start: int = 0

    @property
    def name(self) -> str:
        """Return the file's name, with the frame: "frame 12 of IM1.dcm"."""
        return self.path.name if self.frame is None else f"frame {self.frame} of {self.path.name}"

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of an attribute, or the default."""
        return self.values.get(keyword, default)

    def read_pixels(self) -> list[bytes]:
        """Return the bytes of each part of `pixels`; fewer where the file ends.

        Raises:
            OSError: The file cannot be read.
            zlib.error, TooLargeError: Its deflated data are damaged, or too large.
        """
        if self.start:
            return _read_parts(inflated(self.path, self.start), self.pixels)
        with open_file(self.path) as stream:
            return _read_parts(stream, self.pixels)


def _read_parts(stream: Any, places: Sequence[Place]) -> list[bytes]:
    parts = []
    for offset, length in places:
        stream.seek(offset)
        parts.append(stream.read(length))
    return parts


def read_headers(path: Path) -> list[Header]:
    """Read a file's header, or that of each frame of an enhanced CT, in their order.

    Raises:
        UnreadableScanError: Not a DICOM file, or broken before its pixels.
    """
    try:
        stream = open_file(path)
    except OSError as error:
        raise cannot_open(path, error) from error
    try:
        with stream:
            return _read(path, stream)
    except (BrokenError, TooLargeError, zlib.error) as error:
        raise UnreadableScanError(
            Finding("broken-dicom", "is a broken DICOM file: its header cannot be read"),
            where=path,
            do="copy it again from its source",
        ) from error
    except (OSError, EOFError) as error:
        raise cannot_read(path, error) from error


def read_elements(path: Path, tags: Iterable[int]) -> Elements:
    """Read elements of a file's data set, before its pixels.

    Args:
        path: A file that `read_headers` reads.
        tags: Which.

    Raises:
        OSError: The file cannot be read.
        BrokenError, CutError, TooLargeError, zlib.error: It has changed, and is broken.
    """
    with open_file(path) as stream:
        return elements_of(stream, tags)[0]


def elements_of(stream: BinaryIO, tags: Iterable[int]) -> tuple[Elements, Encoding]:
    """Read elements of a data set before its pixels, and how they are written.

    Args:
        stream: A DICOM file; it is read from its start, and may end within its header.
        tags: Which.

    Raises:
        OSError: The file cannot be read.
        BrokenError, CutError, TooLargeError, zlib.error: It is broken, or no DICOM file.
    """
    source = Source(stream, stream.seek(0, 2))
    source.load(0)
    elements, at, encoding = _begin(source, tags)
    with suppress(CutError):
        elements.walk(at)
    return elements, encoding


def _begin(source: Source, tags: Iterable[int]) -> tuple[Elements, int, Encoding]:
    """Return the elements of a file whose start is loaded, where they begin, and their encoding."""
    encoding = find_encoding(source)
    at = encoding.start
    if encoding.syntax == DEFLATED:
        source.stream.seek(at)
        inflating = Inflating(source.stream, LARGEST_HEADER)
        source, at = Source(inflating, LARGEST_HEADER), 0  # type: ignore[arg-type]
    return (
        Elements(source, implicit=encoding.implicit, big_endian=encoding.big_endian, wanted=tags),
        at,
        encoding,
    )


def _read(path: Path, stream: BinaryIO) -> list[Header]:
    source = Source(stream, stream.seek(0, 2))
    if not is_dicom(source.load(0)):
        raise UnreadableScanError(
            Finding("not-dicom", "is not a DICOM file"), where=path, do="copy it again"
        )
    try:
        elements, at, encoding = _begin(source, WANTED)
    except CutError as error:
        raise BrokenError from error
    start = encoding.start if encoding.syntax == DEFLATED else 0
    head, defect = None, Finding("no-pixel-data", "no pixel data")
    try:
        head = elements.walk(at)
    except CutError:
        defect = Finding("truncated", "truncated within its header")
    values = _convert(elements, elements.found)
    if not values:
        raise UnreadableScanError(
            Finding("broken-dicom", "is a broken DICOM file: it holds no attribute of an image"),
            where=path,
            do="copy it again from its source",
        )
    image = Header(path, encoding.syntax, values, start=start)
    if values.get("Modality", "CT") != "CT":
        return [image]  # no need to look for its pixels
    if head is None:
        return [replace(image, defect=defect)]
    return _Pixels(image, elements, encoding, head).headers()


def _convert(elements: Elements, raw: Any) -> dict[str, Any]:
    return convert(raw, implicit=elements.implicit, big_endian=elements.big_endian)


class _Pixels:
    """Find the pixels of an image, or those of each of its frames.

    Args:
        image: The file's header, without pixels.
        elements: What was found up to the pixels.
        encoding: How they are written.
        head: Tag, VR, length and offset of the pixels.
    """

    def __init__(
        self,
        image: Header,
        elements: Elements,
        encoding: Encoding,
        head: tuple[int, bytes, int, int],
    ) -> None:
        self.image, self.elements, self.encoding = image, elements, encoding
        self.tag, self.vr, self.length, self.at = head
        self.count = image.get("NumberOfFrames") or 1
        self.enhanced = image.get("SOPClassUID") in ENHANCED_CT or elements.frames is not None

    def headers(self) -> list[Header]:
        """Return the image with its pixels, or its frames with theirs."""
        frames = self.elements.frames or ()
        if PIXELS[self.tag] != "PixelData":
            name = PIXELS[self.tag]
            return self._refused(Finding("float-pixels", f"{name}, where a CT has PixelData"))
        if self.enhanced and len(frames) != self.count:
            return self._refused(
                Finding(
                    "frames",
                    f"NumberOfFrames is {self.count}, but PerFrameFunctionalGroupsSequence has "
                    f"{len(frames)} items",
                )
            )
        if not self.enhanced and self.count > 1:
            text = f"{self.count} frames (NumberOfFrames) without a position for each"
            return self._refused(Finding("frames", text))
        return self._encapsulated() if self.length == UNDEFINED else self._native()

    def _refused(self, conflict: Finding) -> list[Header]:
        return [replace(self.image, conflict=conflict)]

    def _native(self) -> list[Header]:
        syntax, (rows, columns, bits) = self.encoding.syntax, map(self.image.get, _SIZE)
        if syntax and syntax not in NATIVE:
            return self._refused(
                Finding(
                    "transfer-syntax",
                    f"PixelData is uncompressed, but TransferSyntaxUID is {syntax}",
                )
            )
        big_endian = self.encoding.big_endian
        written = IMPLICIT if self.encoding.implicit else BIG_ENDIAN if big_endian else EXPLICIT
        self.image = image = self.image if syntax else replace(self.image, transfer_syntax=written)
        if not (rows and columns and bits):
            return [image]  # refused: nothing says where a frame ends
        frame_bytes = rows * columns * bits * (image.get("SamplesPerPixel") or 1) // 8
        expected = frame_bytes * self.count
        if not self._has_length(expected):
            return self._refused(
                Finding(
                    "pixel-length",
                    f"PixelData has {self.length} bytes, but Rows {rows}, Columns {columns}, "
                    f"BitsAllocated {bits} and NumberOfFrames {self.count} make {expected}",
                )
            )
        if big_endian:  # bytes of 8 bits are swapped in pairs where they are written as words
            swapped = bits // 8 if bits > 8 or self.vr == b"OB" else 2
            if self.count > 1 and frame_bytes % swapped:
                text = f"frames of {frame_bytes} bytes of PixelData in big-endian words"
                return self._refused(Finding("pixel-length", text))
            self.image = image = replace(image, swapped=swapped)
        one = self.length if self.count == 1 else frame_bytes  # with the byte that fills a word
        places = native_frames(self.at, one, self.count)
        size = self.elements.source.size
        if image.start or self.at + self.length <= size:
            return self._frames(places)
        missing = Finding(
            "truncated", f"truncated: {max(size - self.at, 0)} of {self.length} bytes of pixels"
        )
        whole = [place if place[0][0] + one <= size else () for place in places]
        return self._frames(whole, missing)

    def _has_length(self, expected: int) -> bool:
        """Return whether PixelData is as long as expected, with a byte of padding.

        Writers that add one to an even length add two. Two bytes are a pixel, and 63×65 pixels are
        not 64×64: they must be zero.
        """
        extra = self.length - expected
        if extra != 2 or self.image.start:
            return extra in (0, 1)
        return self.elements.source.read(self.at + expected, 2) == b"\0\0"

    def _encapsulated(self) -> list[Header]:
        syntax, source = self.encoding.syntax, self.elements.source
        if not syntax or syntax in NATIVE:
            named = syntax or "missing"
            return self._refused(
                Finding(
                    "transfer-syntax", f"PixelData is compressed, but TransferSyntaxUID is {named}"
                )
            )
        items, whole = find_fragments(source, self.at)
        cut = Finding("truncated", "truncated within its compressed pixels")
        if not self.enhanced:
            if not whole:
                return [replace(self.image, defect=cut)]
            if len(items) < 2:
                none = Finding("no-pixel-data", "no compressed pixels after the offset table")
                return [replace(self.image, defect=none)]
            return [replace(self.image, pixels=tuple(items[1:]))]
        places = fragments_of_frames(items, self.count, self._offsets(items)) if items else None
        if places is None and whole:
            return self._refused(
                Finding(
                    "frames",
                    f"{self.count} frames in {len(items) - 1} fragments of PixelData, "
                    "and no offset table that fits them",
                )
            )
        if places is None or not whole:  # which fragments the cut frames have is not known
            return self._frames([()] * self.count, cut)
        return self._frames(places)

    def _offsets(self, items: Sequence[Place]) -> list[int]:
        """Return the offset of each frame's first fragment; empty where no table says."""
        source, tables = self.elements.source, self.elements.tables
        if OFFSETS in tables and LENGTHS in tables:
            return offset_table(source, tables[OFFSETS], self.count, "Q")
        return offset_table(source, items[0], self.count, "I")

    def _frames(
        self, places: Sequence[tuple[Place, ...]], defect: Finding | None = None
    ) -> list[Header]:
        """Return the image with its place, or each frame; the defect is that of those without."""
        if not self.enhanced:
            return [self._placed(self.image.values, places[0], None, defect)]
        common = {**self.image.values, **of_frame(_convert(self.elements, self.elements.shared))}
        own = (of_frame(_convert(self.elements, raw)) for raw in self.elements.frames or ())
        return [
            self._placed({**common, **values}, place, number, defect)
            for number, (values, place) in enumerate(zip(own, places, strict=True), 1)
        ]

    def _placed(
        self,
        values: Mapping[str, Any],
        place: tuple[Place, ...],
        frame: int | None,
        defect: Finding | None,
    ) -> Header:
        image = self.image
        return Header(
            image.path,
            image.transfer_syntax,
            values,
            place,
            frame,
            defect=None if place else defect,
            swapped=image.swapped,
            start=image.start,
        )
