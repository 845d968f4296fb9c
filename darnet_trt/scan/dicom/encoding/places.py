"""Find the pixels of each frame: native ones, and encapsulated ones (PS3.5 section A.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from darnet_trt.scan.dicom.elements import ITEM, SEQUENCE_END, UNDEFINED, Source

MOST_FRAGMENTS: Final = 1 << 17
"""Fragments of one file; most writers make one of each frame."""

Place = tuple[int, int]
"""Byte offset and length in the file."""

_head = struct.Struct("<HHI").unpack_from  # encapsulated pixels are little endian


def find_fragments(source: Source, at: int) -> tuple[list[Place], bool]:
    """Return the items of encapsulated pixels, the basic offset table first, and whether all.

    Args:
        source: The file.
        at: Where the first item is.
    """
    items: list[Place] = []
    while len(items) <= MOST_FRAGMENTS:
        head = source.read(at, 8)
        if len(head) < 8:
            return items, False
        group, element, length = _head(head)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            return items, True
        if tag != ITEM or length == UNDEFINED or at + 8 + length > source.size:
            return items, False
        items.append((at + 8, length))
        at += 8 + length
    return items, False


def native_frames(at: int, frame_bytes: int, count: int) -> list[tuple[Place, ...]]:
    """Return the place of each frame of native pixels, one after the other."""
    return [((at + index * frame_bytes, frame_bytes),) for index in range(count)]


def fragments_of_frames(
    items: Sequence[Place], count: int, table: Sequence[int]
) -> list[tuple[Place, ...]] | None:
    """Return the fragments of each frame, or None where they cannot be told apart.

    Args:
        items: From `find_fragments`.
        count: Of frames.
        table: Offset of each frame's first fragment from the first of all; empty where the file
            has none.
    """
    fragments = items[1:]
    if not table:
        return [(fragment,) for fragment in fragments] if len(fragments) == count else None
    first = fragments[0][0] if fragments else 0
    number = {offset - first: index for index, (offset, _) in enumerate(fragments)}
    starts = [number.get(offset, -1) for offset in table]
    if len(starts) != count or starts[0] != 0 or sorted(set(starts)) != starts:
        return None
    ends = [*starts[1:], len(fragments)]
    return [tuple(fragments[a:b]) for a, b in zip(starts, ends, strict=True)]


def offset_table(source: Source, place: Place, count: int, item: str) -> list[int]:
    """Return the offsets of a table of 32 or 64 bits ("I", "Q"); empty where its size is wrong."""
    table = struct.Struct(f"<{count}{item}")
    at, length = place
    return list(table.unpack(source.read(at, length))) if length == table.size else []
