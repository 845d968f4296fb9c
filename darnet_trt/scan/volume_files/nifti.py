"""Voxels of a NIfTI-1 file. Its geometry is left to ITK; its values are not.

ITK fills a truncated file up with zeros and turns NaN into zero, both without a word, and zero
Hounsfield units are water. Here the first is an error and the second stays visible.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError

__all__ = ["check_header", "read_voxels"]

LARGEST_MM: Final = 1e6
"""Geometry beyond it is a mistake; ITK's matrix decomposition fails at it."""
_HEADER_BYTES: Final = 348
_NIFTI_1: Final = struct.pack("<i", _HEADER_BYTES)
_NIFTI_2: Final = struct.pack("<i", 540)
_DTYPES: Final = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"
}  # fmt: skip


def check_header(path: Path) -> None:
    """Let nothing pass at which ITK's reader fails: it prints on standard error then.

    Raises:
        UnreadableScanError: No NIfTI-1, a data type that no CT has, or a grid that cannot be.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            data = stream.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UnreadableScanError(f"cannot be read ({reason})", where=path) from error
    if _NIFTI_2 in (data[:4], data[3::-1]):
        raise UnreadableScanError("is NIfTI-2", where=path, do="convert it to NIfTI-1")
    if len(data) < _HEADER_BYTES or _NIFTI_1 not in (data[:4], data[3::-1]):
        raise UnreadableScanError("is no NIfTI-1 file", where=path)
    order = _order(data)
    (code,) = struct.unpack_from(f"{order}h", data, 70)
    if code not in _DTYPES:
        raise UnreadableScanError(f"has data type {code}, which no CT has", where=path)
    axes, *dims = struct.unpack_from(f"{order}8h", data, 40)
    if not 1 <= axes <= 7 or min(dims[:axes]) < 1:
        listed = "×".join(map(str, dims[: max(axes, 1)]))
        raise UnreadableScanError(
            f"has a broken header ({axes} dimensions, {listed} voxels)", where=path
        )
    if not all(abs(value) <= LARGEST_MM for value in _geometry(data, order)):  # nor NaN
        raise UnreadableScanError("has a broken header (its geometry is no number)", where=path)


def _geometry(data: bytes, order: Literal["<", ">"]) -> list[float]:
    """What is in use of voxel sizes, quaternion and affine matrix."""
    qform, sform = struct.unpack_from(f"{order}2h", data, 252)
    values = [*struct.unpack_from(f"{order}3f", data, 80)]
    if qform > 0:
        values += struct.unpack_from(f"{order}6f", data, 256)
    if sform > 0:
        values += struct.unpack_from(f"{order}12f", data, 280)
    return values


def _order(header: bytes) -> Literal["<", ">"]:
    return "<" if header[:4] == _NIFTI_1 else ">"


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """Values of a file whose header was checked, scaled by scl_slope and scl_inter: (k, j, i).

    Raises:
        UnreadableScanError: Truncated or corrupt.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            data = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableScanError(
            f"cannot be read ({str(error).rstrip('.')})", where=path, do="copy it again"
        ) from error
    order = _order(data)
    dims = struct.unpack_from(f"{order}8h", data, 40)
    (code,) = struct.unpack_from(f"{order}h", data, 70)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", data, 108)
    dtype = np.dtype(_DTYPES[code]).newbyteorder(order)
    shape = (dims[3], dims[2], dims[1])
    count = int(np.prod(shape, dtype=np.int64))
    if not 0 <= offset <= len(data):
        raise UnreadableScanError(f"cannot be read (its voxels begin at {offset:g})", where=path)
    start = max(int(offset), _HEADER_BYTES)
    if len(data) < start + count * dtype.itemsize:
        raise UnreadableScanError(
            f"cannot be read (truncated: {len(data) - start} of {count * dtype.itemsize} "
            "bytes of voxels)",
            where=path,
            do="copy it again",
        )
    stored = np.frombuffer(data, dtype, count, start).reshape(shape)
    stored = stored.astype(dtype.newbyteorder("="), copy=False)
    if not math.isfinite(slope) or slope == 0 or (slope == 1 and intercept == 0):
        return stored  # no slope says that the values are what they are
    with np.errstate(all="ignore"):  # the caller looks for what is not a number
        return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
