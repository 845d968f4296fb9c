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

__all__ = ["read_voxels"]

_HEADER_BYTES: Final = 348
_DTYPES: Final = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"
}  # fmt: skip


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """Values scaled by scl_slope and scl_inter, shape (k, j, i) as stored.

    Raises:
        UnreadableScanError: Truncated, corrupt, or of a data type that no CT has.
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
    if len(data) < _HEADER_BYTES:
        raise UnreadableScanError("cannot be read (truncated in its header)", where=path)
    order: Literal["<", ">"] = "<" if data[:4] == struct.pack("<i", _HEADER_BYTES) else ">"
    dims = struct.unpack_from(f"{order}8h", data, 40)
    (code,) = struct.unpack_from(f"{order}h", data, 70)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", data, 108)
    if code not in _DTYPES:
        raise UnreadableScanError(f"has data type {code}, which no CT has", where=path)
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
