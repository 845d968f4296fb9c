"""The structure of a JPEG 2000 codestream (ISO/IEC 15444-1, annex A), looked at before decoding.

OpenJPEG leaves missing tiles black without a word, and allocates some 350 bytes for each precinct
and code-block that a header of a few bytes asks for: 9 GB in a file of 1 kB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

MOST_PARTS: Final = 1 << 19
"""Precincts and code-blocks of a frame: 4096×4096 pixels in blocks of 16×16 have 87,000."""
MOST_LAYERS: Final = 256
"""Quality layers; lossless images have one to twenty."""

_START = b"\xff\x4f\xff\x51"  # SOC and SIZ
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_u16 = struct.Struct(">H").unpack_from
_tile_part = struct.Struct(">HHHI").unpack_from  # SOT, its length, tile index, tile-part length


@dataclass(frozen=True)
class Size:
    """The SIZ marker segment (A.5.1).

    Attributes:
        rows: Height of the image.
        columns: Its width.
        samples: Components.
        bits: Precision of the first.
        signed: Whether its values have a sign.
        tiles: Into how many tiles it is cut.
        start: Where the codestream begins; not 0 in a JP2 file.
        aligned: Whether each pixel is a point of the reference grid, the first one its origin.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool
    tiles: int
    start: int
    aligned: bool


def read_size(data: bytes) -> Size | None:
    """Return a codestream's size, None where it is no JPEG 2000.

    Raises:
        struct.error: It ends within the size.
    """
    start = data.find(_START, 0, 4096)
    if start < 0 or (start > 0 and data[4:8] != b"jP  "):  # bare, or in a JP2 file
        return None
    x1, y1, x0, y0, width, height, left, top = struct.unpack_from(">8I", data, start + 8)
    samples, bits, dx, dy = struct.unpack_from(">H3B", data, start + 40)
    return Size(
        rows=-(-y1 // (dy or 1)) + -y0 // (dy or 1),
        columns=-(-x1 // (dx or 1)) + -x0 // (dx or 1),
        samples=samples,
        bits=(bits & 0x7F) + 1,
        signed=bool(bits & 0x80),
        tiles=-(-(x1 - left) // (width or 1)) * -(-(y1 - top) // (height or 1)),
        start=start,
        aligned=(x0, y0, dx, dy) == (0, 0, 1, 1),
    )


def flaw(data: bytes, size: Size) -> str | None:
    """Return what is wrong with the structure of a codestream of a size that is as it should be.

    Raises:
        struct.error, IndexError: It ends within a marker segment.
    """
    at, seen = size.start + 2, set()
    while (marker := _u16(data, at)[0]) != _EOC:
        if marker == _SOT:
            _, _, tile, length = _tile_part(data, at)
            seen.add(tile)
            end = at + length if length else len(data)
            at += 12
            while (inner := _u16(data, at)[0]) != _SOD:
                if reason := _coding(data, at, inner, size):
                    return reason
                at += 2 + _u16(data, at + 2)[0]
            if end <= at:
                return "a tile of no length"
            at = end
            if not length or at == len(data):
                break
        else:
            if reason := _coding(data, at, marker, size):
                return reason
            at += 2 + _u16(data, at + 2)[0]
    if seen != set(range(size.tiles)):
        return f"{len(seen)} of {size.tiles} tiles"
    return None


def reductions(data: bytes, size: Size) -> tuple[int, bool]:
    """Return how often a codestream's resolution can be halved, and whether `halve` does the same.

    It does where one reversible wavelet (A.6.1) has transformed the whole image from its first
    pixel on: not where tiles were transformed one by one, or a tile-part has a coding style of its
    own.

    Args:
        data: A codestream without a `flaw`.
        size: Of it.
    """
    at, levels, alike = size.start + 2, [], size.tiles == 1 and size.aligned
    while (marker := _u16(data, at)[0]) not in (_SOD, _EOC):
        if marker == _COD:
            levels.append(data[at + 9])
            alike = alike and data[at + 13] == 1
        elif marker == _COC:
            levels.append(data[at + 6])
            alike = False
        at += 2 + _u16(data, at + 2)[0]
    return min(levels, default=0), alike and len(levels) == 1


def _coding(data: bytes, at: int, marker: int, size: Size) -> str | None:
    """Return why a coding style (A.6.1, A.6.2) asks for too much."""
    if marker == _COD:
        layers, style, levels_at = _u16(data, at + 6)[0], data[at + 4], at + 9
    elif marker == _COC:
        layers, style, levels_at = 1, data[at + 5], at + 6
    else:
        return None
    levels, block_w, block_h = data[levels_at : levels_at + 3]
    if layers > MOST_LAYERS or levels > 32:
        return f"{layers} layers, {levels} levels"
    parts = 4 * size.tiles * (levels + 1)
    for level in range(levels + 1):
        own = data[levels_at + 5 + level] if style & 1 else 0xFF
        across, down = own & 15, own >> 4
        width, height = (-(-n >> (levels - level)) for n in (size.columns, size.rows))
        parts += 4 * -(-width >> across) * -(-height >> down)
        inside = level > 0  # a precinct holds a quarter of its size of each of three bands
        across = min((block_w & 15) + 2, max(across - inside, 0))
        down = min((block_h & 15) + 2, max(down - inside, 0))
        parts += -(-width >> across) * -(-height >> down)
    return f"{parts} precincts and code-blocks" if parts > MOST_PARTS else None
