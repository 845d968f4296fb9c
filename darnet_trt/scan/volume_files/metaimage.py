"""MetaImage files (.mha, .mhd): a text header, and voxels behind it or in a file beside it.

The format is read here because ITK's reader (SimpleITK 2.5) cannot be trusted with a damaged file:
it hangs on a negative NDims, and where the zlib stream is damaged it prints "Uncompress failed"
and returns zeros and wrong values without an error. (The fields: https://itk.org/Wiki/MetaIO/Documentation;
TransformMatrix has one axis a row.)
"""

from __future__ import annotations

import math
import re
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError, cannot_open, cannot_read
from darnet_trt.scan.volume_files.header import ImageHeader

LARGEST_HEADER: Final = 1 << 16
"""Bytes; real headers have some hundred."""
MOST_AXES: Final = 10
_DTYPES: Final = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_LAST: Final = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:]([^\n]*)(?:\n|\Z)", re.MULTILINE)
_BIG_ENDIAN: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_SPACING: Final = ("ElementSpacing", "ElementSize")
_ORIGIN: Final = ("Offset", "Position", "Origin")
_DIRECTION: Final = ("TransformMatrix", "Rotation", "Orientation")


@dataclass(frozen=True)
class _Fields:
    """The header's fields, and the byte at which it ends."""

    path: Path
    values: Mapping[str, str]
    end: int


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Not a MetaImage file, or its header is broken.
    """
    return _header(_fields(path))


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """Return the stored values, axes reversed: (k, j, i).

    Raises:
        UnreadableScanError: Truncated or corrupt, or the file that holds the voxels is missing.
    """
    fields = _fields(path)
    shape = _header(fields).size[::-1]
    dtype = _dtype(fields)
    if not _is_set(fields, "BinaryData", "True"):
        raise UnreadableScanError(
            "stores its voxels as text", where=path, do="convert it to a binary .mha file"
        )
    file, start = _place(fields)
    expected = math.prod(shape) * dtype.itemsize
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(size - expected, 0) if start is None else start)
            if _is_set(fields, "CompressedData"):
                # 47: zlib or gzip, as its own header says. No more than is expected is unpacked.
                data = zlib.decompressobj(47).decompress(stream.read(), max(expected, 1))
            else:
                data = stream.read(min(expected, size))
    except (OSError, zlib.error, ValueError) as error:
        raise cannot_read(file, error) from error
    if len(data) < expected:
        raise UnreadableScanError(
            f"is truncated: {len(data)} of {expected} bytes of voxels",
            where=file,
            do="copy it again",
        )
    stored = np.frombuffer(data, dtype).reshape(shape)
    return stored.astype(dtype.newbyteorder("="), copy=False)


def _fields(path: Path) -> _Fields:
    try:
        with path.open("rb") as stream:
            start = stream.read(LARGEST_HEADER)
    except OSError as error:
        raise cannot_open(path, error) from error
    last = _LAST.search(start)
    if last is None:
        meta = b"NDims" in start
        what = "has no ElementDataFile in its header" if meta else "is not a MetaImage file"
        raise UnreadableScanError(what, where=path)
    lines = start[: last.end()].decode("utf-8", "surrogateescape").splitlines()
    pairs = (re.split("[=:]", line, maxsplit=1) for line in lines)
    values = {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
    return _Fields(path, values, last.end())


def _header(fields: _Fields) -> ImageHeader:
    axes = _whole_numbers(fields, "NDims", 1)[0]
    if axes > MOST_AXES:
        raise _broken(fields, "NDims")
    matrix = _numbers(fields, _DIRECTION, axes * axes) or np.eye(axes).ravel().tolist()
    spacing = _numbers(fields, _SPACING, axes) or (1.0,) * axes
    if min(spacing) <= 0:
        raise _broken(fields, next(name for name in _SPACING if name in fields.values))
    components = 1
    if "ElementNumberOfChannels" in fields.values:
        components = _whole_numbers(fields, "ElementNumberOfChannels", 1)[0]
    return ImageHeader(
        size=_whole_numbers(fields, "DimSize", axes),
        spacing_mm=spacing,
        origin_mm=_numbers(fields, _ORIGIN, axes) or (0.0,) * axes,
        direction=np.array(matrix).reshape(axes, axes).T,
        components=components,
    )


def _dtype(fields: _Fields) -> np.dtype[Any]:
    kind = fields.values.get("ElementType", "")
    if kind not in _DTYPES:
        raise UnreadableScanError(
            f"has element type {kind[:40]!r}, which no CT has", where=fields.path
        )
    big = any(_is_set(fields, name) for name in _BIG_ENDIAN)
    return np.dtype(_DTYPES[kind]).newbyteorder(">" if big else "<")


def _place(fields: _Fields) -> tuple[Path, int | None]:
    """Return the file that holds the voxels and their first byte; None: they end the file."""
    name = fields.values["ElementDataFile"]
    skip = _numbers(fields, ("HeaderSize",), 1) or (0.0,)
    start = None if skip[0] < 0 else int(skip[0])
    if name.upper() == "LOCAL":
        return fields.path, start if start is None else fields.end
    if name.upper().startswith("LIST") or "%" in name:
        raise UnreadableScanError(
            "stores its voxels in several files",
            where=fields.path,
            do="convert it to one .mha file",
        )
    file = fields.path.parent / name
    try:
        there = stat.S_ISREG(file.stat().st_mode)
    except (OSError, ValueError):  # absent, or a name that no file can have
        there = False
    if not there:
        raise UnreadableScanError(
            f"names a file for its voxels that does not exist: {name[:80]!r}",
            where=fields.path,
            do="copy both files again",
        )
    return file, start


def _is_set(fields: _Fields, name: str, default: str = "False") -> bool:
    return fields.values.get(name, default)[:1].upper() in ("T", "1")


def _whole_numbers(fields: _Fields, name: str, count: int) -> tuple[int, ...]:
    """Return a field's numbers, which must be positive."""
    try:
        found = tuple(int(text) for text in fields.values[name].split())
    except (KeyError, ValueError):
        raise _broken(fields, name) from None
    if len(found) != count or min(found) < 1:
        raise _broken(fields, name)
    return found


def _numbers(fields: _Fields, names: tuple[str, ...], count: int) -> tuple[float, ...]:
    """Return the numbers of the first field that is there; empty where none is."""
    name = next((name for name in names if name in fields.values), None)
    if name is None:
        return ()
    try:
        found = tuple(float(text) for text in fields.values[name].split())
    except ValueError:
        raise _broken(fields, name) from None
    if len(found) != count or not all(map(math.isfinite, found)):
        raise _broken(fields, name)
    return found


def _broken(fields: _Fields, name: str) -> UnreadableScanError:
    # repr keeps the message printable, whatever bytes stand there.
    found = f"{name} {fields.values[name][:40]!r}" if name in fields.values else f"no {name}"
    return UnreadableScanError(f"has a broken header ({found})", where=fields.path)
