"""NRRD files (.nrrd, .nhdr): a text header, and voxels behind it or in a file beside it.

The format is read here because ITK's parser (SimpleITK 2.5) crashes the process where a line of
the header is longer than some 1,000 bytes, and pynrrd allocates what a header claims. (The fields:
https://teem.sourceforge.net/nrrd/format.html)
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open
from darnet_trt.machine.archives import open_file
from darnet_trt.scan.volume_files.beside import named_file
from darnet_trt.scan.volume_files.geometry import UNIT_MM, voxel_sizes_differ
from darnet_trt.scan.volume_files.header import ImageHeader, Matrix, without_ones
from darnet_trt.scan.volume_files.text_header import (
    LARGEST_HEADER,
    TextHeader,
    first_bytes,
    several_files,
    text_lines,
    text_voxels,
)
from darnet_trt.scan.volume_files.voxels import Voxels

MOST_AXES: Final = 16
"""As teem, the format's own library."""
_END: Final = re.compile(rb"\r?\n\r?\n")
_MAGIC: Final = re.compile(rb"NRRD000[1-9]\r?\n")
_VECTOR: Final = re.compile(r"\(([^()]*)\)|(none)")
_DTYPES: Final = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(
        ("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"
    ),
    **dict.fromkeys(
        ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"
    ),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int",
         "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}  # fmt: skip
_LPS: Final = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
}
"""What turns a space's coordinates to LPS."""
_OTHER_SPACES: Final = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
"""They do not say how the patient lies in them."""
_SPATIAL_KINDS: Final = ("domain", "space", "???", "none")
_ALIASES: Final = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
_BINARY: Final = {
    "raw": "raw",
    "gz": "deflate",
    "gzip": "deflate",
    "bz2": "bzip2",
    "bzip2": "bzip2",
}
_TEXT: Final = ("txt", "text", "ascii", "hex")


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Not an NRRD file, or its header is broken, or the file that holds the
            voxels is missing.
    """
    fields = _fields(path)
    sizes = _sizes(fields)
    vectors = _vectors(fields, len(sizes))
    spatial = _spatial(fields, len(sizes), vectors)
    size = without_ones(tuple(sizes[axis] for axis in spatial))
    components = math.prod(n for axis, n in enumerate(sizes) if axis not in spatial)
    voxels = _voxels(fields, math.prod(sizes))
    if len(size) != 3:
        return ImageHeader(size, voxels, components=components)
    if vectors:
        steps, oriented, origin = _space(fields, [vectors[axis] for axis in spatial[:3]])
    else:
        steps = np.diag(_spacings(fields, len(sizes))[spatial[:3]])
        oriented, origin = False, np.zeros(3)
    warning = None
    if vectors and fields.get("spacings"):
        lengths = np.linalg.norm(steps, axis=0)
        spacings = _spacings(fields, len(sizes))[spatial[:3]].tolist()
        warning = voxel_sizes_differ("spacings", spacings, "space directions", lengths)
    unit_mm = _units_mm(fields, vectors is not None)
    return ImageHeader(
        size=size,
        voxels=voxels,
        steps_mm=steps * unit_mm,
        origin_mm=tuple((origin * unit_mm).tolist()),
        components=components,
        oriented=oriented,
        warnings=() if warning is None else (warning,),
    )


def _fields(path: Path) -> TextHeader:
    start = first_bytes(path)
    if not _MAGIC.match(start):
        what = Finding("not-the-format", "is not an NRRD file")
        raise UnreadableScanError(what, where=path, do="copy it again, or rename it")
    blank = _END.search(start)
    if blank is None and len(start) == LARGEST_HEADER:
        raise TextHeader(path, {}, 0).error(f"it does not end within {LARGEST_HEADER} bytes")
    end = len(start) if blank is None else blank.end()
    values: dict[str, list[str]] = {}
    for line in text_lines(start[:end])[1:]:
        name, separator, value = line.partition(": ")
        if separator and ":=" not in name and not line.startswith("#"):
            name = name.strip().lower()
            values.setdefault(_ALIASES.get(name, name), []).append(value.strip())
    return TextHeader(path, values, end)


def _sizes(fields: TextHeader) -> tuple[int, ...]:
    axes, sizes = fields.whole_numbers("dimension"), fields.whole_numbers("sizes")
    if len(axes) != 1 or axes[0] > MOST_AXES:
        raise fields.broken("dimension")
    if len(sizes) != axes[0]:
        raise fields.contradictory(
            ["dimension", "sizes"], [str(axes[0]), " ".join(map(str, sizes))]
        )
    return sizes


def _vectors(fields: TextHeader, axes: int) -> list[tuple[float, ...]] | None:
    """Return each axis's direction, empty for an axis outside space; None: there are none."""
    text = fields.get("space directions")
    if text is None:
        return None
    if _VECTOR.sub("", text).strip():
        raise fields.broken("space directions")
    found = [_vector(fields, "space directions", inner) for inner, _ in _VECTOR.findall(text)]
    if len(found) != axes or len({len(vector) for vector in found if vector}) != 1:
        raise fields.broken("space directions")
    return found


def _vector(fields: TextHeader, name: str, inner: str) -> tuple[float, ...]:
    return fields.numbers(name, inner.replace(",", " "))


def _spatial(
    fields: TextHeader, axes: int, vectors: Sequence[tuple[float, ...]] | None
) -> list[int]:
    """Return the axes that lie in space, not along colours, vectors or time."""
    kinds = (fields.get("kinds") or " ".join(["???"] * axes)).lower().split()
    if len(kinds) != axes:
        raise fields.broken("kinds")
    spatial = [axis for axis, kind in enumerate(kinds) if kind in _SPATIAL_KINDS]
    if not vectors:
        return spatial
    placed = [axis for axis, vector in enumerate(vectors) if vector]
    if not set(placed) <= set(spatial):
        given = [" ".join(kinds), fields.get("space directions") or ""]
        raise fields.contradictory(["kinds", "space directions"], given)
    return placed


def _space(fields: TextHeader, vectors: Sequence[tuple[float, ...]]) -> tuple[Matrix, bool, Matrix]:
    """Return the LPS steps, whether they are the patient's, and the origin."""
    if len(vectors[0]) != 3:
        raise fields.broken("space directions")
    space = (fields.get("space") or "").lower()
    if space not in ("", *_LPS, *_OTHER_SPACES):
        raise fields.broken("space")
    turn = np.array(_LPS.get(space, (1, 1, 1)), float)
    origin = (0.0, 0.0, 0.0)
    text = fields.get("space origin")
    if text is not None:
        whole = _VECTOR.fullmatch(text)
        origin = _vector(fields, "space origin", (whole and whole[1]) or "")  # type: ignore[assignment]
        if len(origin) != 3:
            raise fields.broken("space origin")
    return turn[:, None] * np.array(vectors).T, space in _LPS, turn * np.array(origin)


def _spacings(fields: TextHeader, axes: int) -> Matrix:
    """Return the distance of voxels along each axis; 1 where the header has none."""
    text = fields.get("spacings")
    if text is None:
        return np.ones(axes)
    known = fields.numbers("spacings", re.sub(r"(?i)\bnan\b", "1", text))  # axes outside space
    if len(known) != axes or min(known) <= 0:
        raise fields.broken("spacings")
    return np.array(known)


def _units_mm(fields: TextHeader, in_space: bool) -> float:
    name = "space units" if in_space else "units"
    units = {unit.lower() for unit in re.findall('"([^"]*)"', fields.get(name) or "")}
    lengths = {UNIT_MM.get(unit) for unit in units} or {1.0}
    length = lengths.pop()
    if length is None or lengths:
        raise fields.broken(name)
    return length


def _voxels(fields: TextHeader, count: int) -> Voxels:
    kind = (fields.get("type") or "").lower()
    if kind not in _DTYPES:
        what = Finding("not-ct-values", f"has element type {kind[:40]!r}, which no CT has")
        raise UnreadableScanError(what, where=fields.path, do="convert it to short")
    dtype: np.dtype[Any] = np.dtype(_DTYPES[kind])
    encoding = (fields.get("encoding") or "").lower()
    if encoding in _TEXT:
        raise text_voxels(fields.path)
    if encoding not in _BINARY:
        raise fields.broken("encoding")
    packing: Any = _BINARY[encoding]
    if dtype.itemsize > 1:
        order = (fields.get("endian") or "").lower()
        if order not in ("little", "big"):
            raise fields.broken("endian")
        dtype = dtype.newbyteorder("<" if order == "little" else ">")
    file, start = _place(fields)
    lines, skip = _skip(fields, "line skip", 0), _skip(fields, "byte skip", -1)
    try:
        with open_file(file) as stream:
            start = _behind_lines(fields, stream, start, lines)
            length = stream.seek(0, 2)
    except OSError as error:
        raise cannot_open(file, error) from error
    if packing != "raw":
        if not 0 <= skip <= LARGEST_HEADER:
            raise fields.broken("byte skip")
        return Voxels(file, dtype, start, packing, skip)
    if skip < 0:  # the voxels end the file
        return Voxels(file, dtype, max(length - count * dtype.itemsize, 0))
    return Voxels(file, dtype, start + skip)


def _place(fields: TextHeader) -> tuple[Path, int]:
    """Return the file that holds the voxels, and its first byte behind this header."""
    name = fields.get("data file")
    if name is None:
        return fields.path, fields.end
    if name.upper().split()[:1] == ["LIST"] or "%" in name:
        raise several_files(fields.path)
    return named_file(fields.path, name), 0


def _skip(fields: TextHeader, name: str, least: int) -> int:
    text = fields.get(name) or "0"
    if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < least:
        raise fields.broken(name)
    return int(text)


def _behind_lines(fields: TextHeader, stream: Any, start: int, lines: int) -> int:
    """Return the byte behind some lines of the file that holds the voxels."""
    if not lines:
        return start
    stream.seek(start)
    ends = [match.end() for match in re.finditer(b"\n", stream.read(LARGEST_HEADER))]
    if lines > len(ends):
        raise fields.broken("line skip")
    return start + ends[lines - 1]
