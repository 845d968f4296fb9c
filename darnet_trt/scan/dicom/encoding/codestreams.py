"""Compressed frames: what a codestream says about itself, and its decoder.

The size is read before anything is decoded: decoders allocate what a codestream claims.
imagecodecs decodes; it releases the GIL, so that threads decode in parallel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE: Final = "1.2.840.10008.1.2.5"
DECODERS: Final = {  # transfer syntax → imagecodecs' function
    "1.2.840.10008.1.2.4.57": "ljpeg_decode", "1.2.840.10008.1.2.4.70": "ljpeg_decode",
    "1.2.840.10008.1.2.4.80": "jpegls_decode", "1.2.840.10008.1.2.4.81": "jpegls_decode",
    "1.2.840.10008.1.2.4.50": "jpeg8_decode", "1.2.840.10008.1.2.4.51": "jpeg8_decode",
    **dict.fromkeys(_JPEG_2000, "jpeg2k_decode"), **dict.fromkeys(_HTJ2K, "htj2k_decode"),
    RLE: "dicomrle_decode",
}  # fmt: skip
"""Lossless JPEG, JPEG-LS, JPEG baseline and extended, JPEG 2000, HTJ2K, RLE."""

_SIZ = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream, and its size marker
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})  # SOF markers; F7 is JPEG-LS
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_END = b"\xff\xd9"


@dataclass(frozen=True)
class Codestream:
    """What a codestream says about its image.

    Attributes:
        rows: Height.
        columns: Width.
        samples: Components.
        bits: Precision of the first.
        signed: Whether its values have a sign; only JPEG 2000 says so.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool = False


def describe(data: bytes) -> Codestream | None:
    """Return what a JPEG or JPEG 2000 codestream says about itself, None where it is neither."""
    try:
        start = data.find(_SIZ, 0, 4096)
        if start >= 0 and (start == 0 or data[4:8] == b"jP  "):  # bare, or in a JP2 file
            return _size_of_jpeg_2000(data, start)
        return _size_of_jpeg(data) if data[:2] == b"\xff\xd8" else None
    except (struct.error, IndexError):
        return None


def _size_of_jpeg_2000(data: bytes, start: int) -> Codestream:
    """Read the SIZ marker segment (ISO/IEC 15444-1, A.5.1)."""
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, start + 8)
    samples, bits, dx, dy = struct.unpack_from(">H3B", data, start + 40)
    rows, columns = (-(-end // step) - -(-first // step) for end, first, step in
                     ((y1, y0, dy or 1), (x1, x0, dx or 1)))  # fmt: skip
    return Codestream(rows, columns, samples, (bits & 0x7F) + 1, bool(bits & 0x80))


def _size_of_jpeg(data: bytes) -> Codestream | None:
    """Read the frame header (ISO/IEC 10918-1, B.2.2; JPEG-LS, ISO/IEC 14495-1, has the same)."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Codestream(rows, columns, samples, bits)
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
        syntax: One of `DECODERS`.
        data: Its bytes.
        shape: Rows, columns.
        itemsize: Bytes of a pixel; RLE does not say.

    Raises:
        RuntimeError, ValueError: The codestream is damaged.
    """
    import imagecodecs

    if syntax == RLE:
        pixels = bytearray(shape[0] * shape[1] * itemsize)
        imagecodecs.dicomrle_decode(data, f"u{itemsize}", out=pixels)
        return np.frombuffer(pixels, f"u{itemsize}").reshape(shape)
    options = {"numthreads": 1} if syntax in _JPEG_2000 else {}
    return np.asarray(getattr(imagecodecs, DECODERS[syntax])(data, **options))
