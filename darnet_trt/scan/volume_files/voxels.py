"""Read the values of a volume file: piece by piece, never more than its grid has.

The libraries of the formats allocate what a header claims before they look at the file (nibabel),
or fill what is missing with zeros, which are the Hounsfield units of water (ITK). Here the claim is
compared with the file first, and packed values are unpacked a few MB at a time.
"""

from __future__ import annotations

import math
from bz2 import BZ2Decompressor
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
from isal.igzip_lib import DECOMP_GZIP, DECOMP_ZLIB, IgzipDecompressor, IsalError

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, cannot_read
from darnet_trt.machine.archives import open_file
from darnet_trt.machine.unpacking import DEFLATE_RATIO, GZIP
from darnet_trt.scan.plausibility.hounsfield import refuse_not_numbers

DAMAGED: Final[tuple[type[Exception], ...]] = (
    OSError,
    EOFError,
    cast("type[Exception]", IsalError),
)
"""What reading a damaged file raises."""
MOST_LEFT_OVER: Final = 16
"""Bytes behind the voxels: a line end, or padding. More means that the header describes another
grid, or that the voxels begin later than it says: the slices would be shifted."""
_PIECE: Final = 1 << 18
_SLAB: Final = 8 << 20
_BEHIND: Final = 1 << 20
"""Bytes behind the values that are unpacked to reach the checksum; real files have none."""


@dataclass(frozen=True)
class Voxels:
    """Where the values of a volume lie, and how.

    Attributes:
        file: The volume file, or the file beside it that holds the values.
        dtype: As stored.
        start: Byte of the file at which they, or their packed stream, begin.
        packing: "deflate" is zlib or gzip, as the stream itself says.
        skip: Bytes of the unpacked stream before the first value.
        slope: What a stored value is multiplied with.
        intercept: What is added then.
    """

    file: Path
    dtype: np.dtype[Any]
    start: int
    packing: Literal["raw", "deflate", "bzip2"] = "raw"
    skip: int = 0
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def hu_dtype(self) -> type[np.int16] | type[np.float32]:
        """Return int16 where it holds every value, else float32."""
        fits = np.can_cast(self.dtype, np.int16) and (self.slope, self.intercept) == (1, 0)
        return np.int16 if fits else np.float32


class Unpacked:
    """The content of a packed stream; members one behind the other make up one content."""

    def __init__(self, stream: BinaryIO, packing: Literal["deflate", "bzip2"]) -> None:
        """Begin at the stream's position."""
        self._stream = stream
        self._input = stream.read(_PIECE)
        self._new = _decompressor(packing, self._input[:2])
        self._first = self._input[:2]
        self._state = self._new()

    def readinto(self, target: memoryview) -> int:
        """Fill the target; return how many bytes there were, fewer only at the end."""
        done = 0
        while done < len(target):
            if self._state.eof and not self._next_member():
                break
            fed, self._input = self._input, b""
            piece = self._state.decompress(fed, len(target) - done)
            target[done : done + len(piece)] = piece
            done += len(piece)
            if self._state.needs_input and not self._state.eof:
                self._input = self._stream.read(_PIECE)
            if not (piece or fed or self._input or self._state.eof):
                break  # the file ends within its packed stream
        return done

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        target = bytearray(count)
        return bytes(target[: self.readinto(memoryview(target))])

    def _next_member(self) -> bool:
        rest = self._state.unused_data
        rest += self._stream.read(_PIECE - len(rest))
        if self._first == b"" or rest[:2] != self._first:
            return False
        self._input, self._state = rest, self._new()
        return True


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _decompressor(packing: str, first: bytes) -> Callable[[], _Decompressor]:
    if packing == "bzip2":
        return BZ2Decompressor
    flag = DECOMP_GZIP if first == GZIP else DECOMP_ZLIB
    return lambda: IgzipDecompressor(flag=flag)


def check_file(voxels: Voxels, size: tuple[int, ...]) -> None:
    """Compare what the header claims with the file that holds the values.

    Raises:
        UnreadableScanError: The file cannot be opened, or holds fewer values, or more.
    """
    try:
        with open_file(voxels.file) as stream:
            there = max(stream.seek(0, 2) - voxels.start, 0)
    except OSError as error:
        raise cannot_open(voxels.file, error) from error
    expected = math.prod(size) * voxels.dtype.itemsize
    if voxels.packing == "deflate":
        there = max(there * DEFLATE_RATIO - voxels.skip, 0)
    if voxels.packing != "bzip2" and there < expected:
        raise _truncated(voxels, there, expected)
    if voxels.packing == "raw" and there - expected > MOST_LEFT_OVER:
        raise _left_over(voxels, expected)


def read_hu(
    voxels: Voxels, size: tuple[int, ...], axes: tuple[int, int, int]
) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
    """Read a volume and lay its axes into the order z y x.

    Args:
        voxels: Where its values lie.
        size: Voxels along the stored axes i, j, k.
        axes: The stored axis that becomes x, y and z.

    Returns:
        Hounsfield units, contiguous, int16 or float32.

    Raises:
        UnreadableScanError: Truncated or corrupt.
        RefusedScanError: Values that are not numbers.
    """
    order = axes[::-1]
    hu: Any = np.empty([size[axis] for axis in order], voxels.hu_dtype)
    stored = hu.transpose(np.argsort([2 - axis for axis in order]))  # k j i, as the file has them
    plane = size[0] * size[1] * voxels.dtype.itemsize
    count = min(max(1, _SLAB // plane), size[2])
    content = np.empty(count * plane, np.uint8)
    finite = True
    try:
        with open_file(voxels.file) as stream:
            stream.seek(voxels.start)
            source = stream if voxels.packing == "raw" else Unpacked(stream, voxels.packing)
            source.read(voxels.skip)
            for k in range(0, size[2], count):
                part = content[: min(count, size[2] - k) * plane]
                got = _fill(source, part.data)
                if got < len(part):
                    raise _truncated(voxels, k * plane + got, size[2] * plane)
                slab = part.view(voxels.dtype).reshape(-1, size[1], size[0])
                finite &= _convert(voxels, slab, stored[k : k + count])
            if voxels.packing != "raw" and len(source.read(_BEHIND)) > MOST_LEFT_OVER:
                raise _left_over(voxels, math.prod(size) * voxels.dtype.itemsize)
    except DAMAGED as error:
        raise cannot_read(voxels.file, error) from error
    if not finite:
        del content, part, slab
        refuse_not_numbers(hu, voxels.file)
    return hu  # type: ignore[no-any-return]


def _convert(voxels: Voxels, slab: npt.NDArray[Any], into: npt.NDArray[Any]) -> bool:
    """Scale stored values; return whether all are numbers."""
    with np.errstate(all="ignore"):  # what float32 cannot hold becomes infinite
        into[:] = slab
        if into.dtype == np.int16:
            return True
        if (voxels.slope, voxels.intercept) != (1, 0):
            into *= np.float32(voxels.slope)
            into += np.float32(voxels.intercept)
        return bool(np.isfinite(into).all())


def _fill(source: Any, target: memoryview) -> int:
    """Read until the target is full or nothing more comes; a stream may give less at a time."""
    done = 0
    while done < len(target):
        got = source.readinto(target[done:])
        if not got:
            break
        done += got
    return done


def _left_over(voxels: Voxels, expected: int) -> UnreadableScanError:
    text = f"holds more than the {expected} bytes of voxels that its header describes"
    do = "compare size, data type and offset in the header with the file"
    return UnreadableScanError(Finding("voxels-left-over", text), where=voxels.file, do=do)


def _truncated(voxels: Voxels, there: int, expected: int) -> UnreadableScanError:
    text = f"is truncated: {there} of {expected} bytes of voxels"
    return UnreadableScanError(Finding("truncated", text), where=voxels.file, do="copy it again")
