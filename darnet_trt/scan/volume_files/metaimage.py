"""MetaImage files (.mha, .mhd): a text header, and voxels behind it or in a file beside it.

The format is read here because ITK's reader (SimpleITK 2.5) cannot be trusted with a damaged file:
it hangs on a negative NDims, and where the zlib stream is damaged it prints "Uncompress failed"
and returns zeros and wrong values without an error. (The fields: https://itk.org/Wiki/MetaIO/Documentation;
TransformMatrix has one axis a row.)
"""

from __future__ import annotations

import codecs
import math
import re
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open
from darnet_trt.machine.archives import open_file
from darnet_trt.scan.volume_files.beside import named_file
from darnet_trt.scan.volume_files.geometry import UNIT_MM, voxel_sizes_differ
from darnet_trt.scan.volume_files.header import ImageHeader, Matrix, without_ones
from darnet_trt.scan.volume_files.text_header import (
    TextHeader,
    first_bytes,
    several_files,
    text_lines,
    text_voxels,
)
from darnet_trt.scan.volume_files.voxels import Voxels

MOST_AXES: Final = 10
UNIT_LENGTH: Final = 0.01
"""Writers round directions: rows of TransformMatrix this far from length 1 are unit vectors."""
NO_SPACING: Final = Finding(
    "placeholder-geometry",
    "no ElementSpacing: nobody entered the voxel sizes; write it again with the scanner's",
)
_DTYPES: Final = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_LAST: Final = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:]([^\n]*)(?:\n|\Z)", re.MULTILINE)
_BIG_ENDIAN: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_TO_INTENSITY: Final = {
    "ElementToIntensityFunctionSlope": 1.0,
    "ElementToIntensityFunctionOffset": 0.0,
}
_ORIGIN: Final = ("Offset", "Position", "Origin")
_DIRECTION: Final = ("TransformMatrix", "Rotation", "Orientation")


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Not a MetaImage file, or its header is broken, or the file that holds
            the voxels is missing.
    """
    fields = _fields(path)
    size = _size(fields)
    volume = without_ones(size)
    components = _one(fields, "ElementNumberOfChannels", 1)
    voxels = _voxels(fields, math.prod(size) * components)
    if len(volume) != 3:
        return ImageHeader(volume, voxels, components=components)
    axes = len(size)
    sizes = _lengths(fields, "ElementSize", axes)
    known = _lengths(fields, "ElementSpacing", axes) or sizes
    spacing = np.array(known or (1.0,) * axes)
    warning = None
    if sizes:  # the voxels' size, where their distance is another: gaps or overlaps
        warning = voxel_sizes_differ("ElementSize", sizes, "ElementSpacing", spacing)
    unit_mm = UNIT_MM.get((fields.get("DistanceUnits") or "mm").lower())
    if unit_mm is None:
        raise fields.broken("DistanceUnits")
    origin = np.array(_found(fields, _ORIGIN, axes) or (0.0,) * axes)[:3]
    direction = _direction(fields, axes)
    return ImageHeader(
        size=volume,
        voxels=voxels,
        steps_mm=direction[:3, :3] * spacing[:3] * unit_mm,
        origin_mm=tuple((origin * unit_mm).tolist()),
        components=components,
        oriented=any(name in fields.values for name in _DIRECTION),
        refusal=None if known else NO_SPACING,
        warnings=() if warning is None else (warning,),
    )


def _fields(path: Path) -> TextHeader:
    start = first_bytes(path)
    last = _LAST.search(start)
    if last is None:
        if b"NDims" in start:
            code, what = "broken-header", "has no ElementDataFile in its header"
        else:
            code, what = "not-the-format", "is not a MetaImage file"
        raise UnreadableScanError(Finding(code, what), where=path, do="copy it again")
    lines = text_lines(start[: last.end()].removeprefix(codecs.BOM_UTF8))
    values: dict[str, list[str]] = {}
    for line in lines:
        name, separator, value = _split(line)
        if separator:
            values.setdefault(name, []).append(value)
    return TextHeader(path, values, last.end())


def _split(line: str) -> tuple[str, str, str]:
    name, *rest = re.split("[=:]", line, maxsplit=1)
    return name.strip(), "=" if rest else "", "".join(rest).strip()


def _size(fields: TextHeader) -> tuple[int, ...]:
    axes = _one(fields, "NDims", None)
    if axes > MOST_AXES:
        raise fields.broken("NDims")
    size = fields.whole_numbers("DimSize")
    if len(size) != axes:
        raise fields.contradictory(["NDims", "DimSize"], [str(axes), " ".join(map(str, size))])
    return size


def _direction(fields: TextHeader, axes: int) -> Matrix:
    """Return the axes' unit vectors as columns."""
    matrix = _found(fields, _DIRECTION, axes * axes)
    if not matrix:
        return np.eye(axes)
    rows = np.array(matrix).reshape(axes, axes)
    if not np.allclose(np.linalg.norm(rows, axis=1), 1, rtol=0, atol=UNIT_LENGTH):
        raise fields.broken(next(name for name in _DIRECTION if name in fields.values))
    return rows.T


def _voxels(fields: TextHeader, count: int) -> Voxels:
    kind = fields.get("ElementType") or ""
    if kind not in _DTYPES:
        what = Finding("not-ct-values", f"has element type {kind[:40]!r}, which no CT has")
        raise UnreadableScanError(what, where=fields.path, do="convert it to MET_SHORT")
    if not _is_set(fields.get("BinaryData") or "True"):
        raise text_voxels(fields.path)
    big = _is_set(fields.get(*_BIG_ENDIAN) or "False")
    dtype: np.dtype[Any] = np.dtype(_DTYPES[kind]).newbyteorder(">" if big else "<")
    packed = _is_set(fields.get("CompressedData") or "False")
    file, start = _place(fields)
    if start is None:
        if packed:
            raise fields.contradictory(["CompressedData", "HeaderSize"], ["True", "-1"])
        start = max(_length(file) - count * dtype.itemsize, 0)
    slope, intercept = (
        (_found(fields, (name,), 1) or (default,))[0] for name, default in _TO_INTENSITY.items()
    )
    packing: Literal["raw", "deflate"] = "deflate" if packed else "raw"
    return Voxels(file, dtype, start, packing, slope=slope, intercept=intercept)


def _place(fields: TextHeader) -> tuple[Path, int | None]:
    """Return the file that holds the voxels and their first byte; None: they end the file."""
    name = fields.values["ElementDataFile"][-1]
    skip = _found(fields, ("HeaderSize",), 1) or (0.0,)
    if skip[0] < -1:
        raise fields.broken("HeaderSize")
    start = None if skip[0] < 0 else int(skip[0])
    if name.upper() == "LOCAL":
        return fields.path, start if start is None else fields.end
    if name.upper().split()[:1] == ["LIST"] or "%" in name:
        raise several_files(fields.path)
    return named_file(fields.path, name), start


def _length(file: Path) -> int:
    try:
        with open_file(file) as stream:
            return stream.seek(0, 2)
    except OSError as error:
        raise cannot_open(file, error) from error


def _is_set(value: str) -> bool:
    return value[:1].upper() in ("T", "1")


def _one(fields: TextHeader, name: str, default: int | None) -> int:
    if default is not None and name not in fields.values:
        return default
    found = fields.whole_numbers(name)
    if len(found) != 1:
        raise fields.broken(name)
    return found[0]


def _lengths(fields: TextHeader, name: str, count: int) -> tuple[float, ...]:
    found = _found(fields, (name,), count)
    if found and min(found) <= 0:
        raise fields.broken(name)
    return found


def _found(fields: TextHeader, names: tuple[str, ...], count: int) -> tuple[float, ...]:
    """Return the numbers of a field; empty where it is not there."""
    text = fields.get(*names)
    if text is None:
        return ()
    name = next(name for name in names if name in fields.values)
    found = fields.numbers(name, text)
    if len(found) != count:
        raise fields.broken(name)
    return found
