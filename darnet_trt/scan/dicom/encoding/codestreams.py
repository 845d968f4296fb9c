"""Compressed frames: what a codestream says about itself, and its decoder.

The size is read before anything is decoded: decoders allocate what a codestream claims.
imagecodecs decodes; it releases the GIL, so that threads decode in parallel. HTJ2K goes to its
OpenJPEG: its OpenJPH is faster, but gives damaged frames back without an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.dicom.encoding.jpeg2000 import flaw, read_size, reductions

RLE: Final = "1.2.840.10008.1.2.5"
JPEG_2000: Final = frozenset(
    f"1.2.840.10008.1.2.4.{part}"
    for part in (90, 91, 201, 202, 203)  # the last three: HTJ2K
)
_JPEG: Final[dict[str, tuple[str, set[int]]]] = {
    "1.2.840.10008.1.2.4.50": ("jpeg8_decode", {0xC0}),
    "1.2.840.10008.1.2.4.51": ("jpeg8_decode", {0xC0, 0xC1}),
    "1.2.840.10008.1.2.4.57": ("ljpeg_decode", {0xC3}),
    "1.2.840.10008.1.2.4.70": ("ljpeg_decode", {0xC3}),
    "1.2.840.10008.1.2.4.80": ("jpegls_decode", {0xF7}),
    "1.2.840.10008.1.2.4.81": ("jpegls_decode", {0xF7}),
}
"""Transfer syntax → imagecodecs' function, and the frame headers (SOF) that belong to it."""
COMPRESSED: Final = frozenset({RLE, *JPEG_2000, *_JPEG})
"""Transfer syntaxes that can be decoded."""

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_END = b"\xff\xd9"


@dataclass(frozen=True)
class Codestream:
    """Hold what a codestream says about its image.

    Attributes:
        rows: Height.
        columns: Width.
        samples: Components.
        bits: Precision of the first.
        signed: Whether its values have a sign; only JPEG 2000 says so.
        flaw: Why it cannot be decoded as a whole.
        levels: How often its resolution can be halved; only JPEG 2000 can.
        halves: Whether the first time gives what `halve` gives of the whole.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool = False
    flaw: str | None = None
    levels: int = 0
    halves: bool = False


def describe(syntax: str, data: bytes) -> Codestream | None:
    """Return what a codestream says about itself, None where it is none of its transfer syntax."""
    try:
        if syntax in _JPEG:
            return _read_jpeg(data, _JPEG[syntax][1]) if data[:2] == b"\xff\xd8" else None
        size = read_size(data)
    except (struct.error, IndexError):
        return None
    if size is None:
        return None
    basics = size.rows, size.columns, size.samples, size.bits, size.signed
    try:
        if wrong := flaw(data, size):
            return Codestream(*basics, wrong)
        return Codestream(*basics, None, *reductions(data, size))
    except (struct.error, IndexError):
        return Codestream(*basics, "cut within its header")


def _read_jpeg(data: bytes, kinds: set[int]) -> Codestream | None:
    """Read the frame header (ISO/IEC 10918-1, B.2.2; JPEG-LS, ISO/IEC 14495-1, has the same)."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Codestream(rows, columns, samples, bits) if marker in kinds else None
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def is_cut(syntax: str, data: bytes) -> bool:
    """Return whether a codestream lacks its end-of-image marker."""
    return syntax != RLE and data.rstrip(b"\0")[-2:] != _END


def decode(syntax: str, data: bytes, shape: tuple[int, int], itemsize: int) -> npt.NDArray[Any]:
    """Decode a frame of known size.

    Args:
        syntax: One of `COMPRESSED`.
        data: Its bytes.
        shape: Rows, columns.
        itemsize: Bytes of a pixel; RLE does not say.

    Raises:
        RuntimeError, ValueError: The codestream is damaged.
    """
    import imagecodecs

    if syntax == RLE:
        return _decode_rle(data, shape, itemsize)
    if syntax in JPEG_2000:
        return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    return np.asarray(getattr(imagecodecs, _JPEG[syntax][0])(data))


def _decode_rle(data: bytes, shape: tuple[int, int], itemsize: int) -> npt.NDArray[Any]:
    """Decode segments of one byte of each pixel, the highest first (PS3.5 annex G).

    imagecodecs' own decoder of frames leaves zeros where a segment is too short.
    """
    import imagecodecs

    size = shape[0] * shape[1]
    count, *starts = struct.unpack("<16I", data[:64].ljust(64, b"\0"))
    if count != itemsize:
        raise ValueError(f"{count} segments for {itemsize} bytes of a pixel")
    planes = np.empty((size, itemsize), np.uint8)
    for number, (start, end) in enumerate(
        zip(starts[:count], [*starts[1:count], len(data)], strict=True)
    ):
        segment = data[start:end]
        try:
            found = imagecodecs.packbits_decode(segment, out=bytearray(size))
        except RuntimeError:  # it allows one byte of padding
            found = imagecodecs.packbits_decode(segment.rstrip(b"\0"), out=bytearray(size))
        if len(found) != size:
            raise ValueError(f"{len(found)} of {size} pixels")
        planes[:, itemsize - 1 - number] = np.frombuffer(found, np.uint8)
    return planes.view(f"<u{itemsize}").reshape(shape)
