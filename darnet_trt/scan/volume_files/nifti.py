"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz): nibabel reads the header, this file the voxels.

nibabel could read the voxels too, but it allocates whatever size the header claims before it
looks at the file, so a damaged header would exhaust the memory; and it scales two-byte voxels to
eight bytes each. ITK fills a truncated file up with zeros and turns NaN into zero, which are the
Hounsfield units of water, and does not read NIfTI-2.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan.opening import cannot_read
from darnet_trt.scan.volume_files.header import ImageHeader

__all__ = ["read_header", "read_voxels"]

LARGEST_MM: Final = 1e6
"""A voxel size or a position beyond this is a mistake."""
ROUNDED_QUATERNION: Final = 1.01
"""Writers round quaternions: one this long still is a unit quaternion."""
LARGEST_RATIO: Final = 1032
"""gzip packs at most this many bytes into one."""
SMALLEST_MM: Final = 1e-6
_MAGIC: Final = (b"n+1", b"ni1", b"n+2", b"ni2")
_UNIT_MM: Final = {1: 1000.0, 3: 0.001}
"""xyzt_units: metres and micrometres; everything else means millimetres."""
_NO_FILE: Final = (OSError, EOFError, zlib.error, MemoryError)


@dataclass(frozen=True, eq=False)
class _Parsed:
    """What a header says, checked.

    Attributes:
        size: Voxels along each axis; the first is stored fastest.
        affine: (4, 4): voxel indices to LPS coordinates in mm.
        dtype: Of the stored values, with their byte order.
        start: Byte at which the voxels begin.
        scale: scl_slope and scl_inter; None where the stored values are the values.
    """

    size: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    dtype: np.dtype[Any]
    start: int
    scale: tuple[float, float] | None


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: No NIfTI, a data type that no CT has, or a grid that cannot be.
    """
    parsed = _parse(path)
    axes = parsed.affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    lengths = (*spacing.tolist(), *(1.0 for _ in parsed.size[3:]))
    origin = tuple(parsed.affine[:3, 3].tolist())
    return ImageHeader(parsed.size, lengths, origin, axes / spacing)


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """Return the values of a volume, scaled by scl_slope and scl_inter: (k, j, i).

    Raises:
        UnreadableScanError: Truncated or corrupt.
    """
    parsed = _parse(path)
    count, start = math.prod(parsed.size[:3]), parsed.start
    end = start + count * parsed.dtype.itemsize
    try:
        data = _first_bytes(path, end)
    except _NO_FILE as error:
        raise cannot_read(path, error) from error
    if len(data) < end:
        raise UnreadableScanError(
            f"is truncated: {max(len(data) - start, 0)} of {end - start} bytes of voxels",
            where=path,
            do="copy it again",
        )
    stored = np.frombuffer(data, parsed.dtype, count, start).reshape(parsed.size[2::-1])
    stored = stored.astype(parsed.dtype.newbyteorder("="), copy=False)
    if parsed.scale is None:
        return stored
    values = stored.astype(np.float32)
    with np.errstate(all="ignore"):  # the caller looks for what is not a number
        values *= np.float32(parsed.scale[0])
        values += np.float32(parsed.scale[1])
    return values


def _parse(path: Path) -> _Parsed:
    from nibabel.nifti1 import data_type_codes
    from nibabel.spatialimages import HeaderDataError

    header = _nibabel_header(path)
    axes, *dims = header["dim"].tolist()
    if not 1 <= axes <= 7 or min(dims[:axes]) < 1:
        listed = "×".join(map(str, dims[: max(axes, 1)]))
        raise _broken(path, f"{axes} dimensions, {listed} voxels")
    while axes > 3 and dims[axes - 1] == 1:
        axes -= 1
    code = int(header["datatype"])
    codes: Any = data_type_codes
    dtype: np.dtype[Any] = codes.dtype.get(code, np.dtype("V"))
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnreadableScanError(f"has data type {code}, which no CT has", where=path)
    try:
        with np.errstate(all="ignore"):
            affine = _affine(header)
            slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if not (np.abs(affine) <= LARGEST_MM).all():  # nor NaN
        raise _broken(path, f"its geometry is not a number, or beyond {LARGEST_MM:g} mm")
    if np.linalg.norm(affine[:3, :3], axis=0).min() < SMALLEST_MM:
        raise _broken(path, "voxels of size 0")
    offset = float(header["vox_offset"])
    if not 0 <= offset < 1 << 62:
        raise _broken(path, f"its voxels begin at byte {offset:g}")
    start = max(int(offset), header.sizeof_hdr)
    scale = None if slope is None or (slope, intercept) == (1, 0) else (slope, intercept)
    dtype = dtype.newbyteorder(header.endianness)
    return _Parsed(tuple(dims[:axes]), affine, dtype, start, scale)


def _nibabel_header(path: Path) -> Any:
    """Return nibabel's view of the header's fields, in the file's byte order."""
    import nibabel

    try:
        with _opened(path) as stream:
            data = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    except _NO_FILE as error:
        raise cannot_read(path, error) from error
    kinds: dict[int, Any] = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
    for order, size in (
        ("<", int.from_bytes(data[:4], "little")),
        (">", int.from_bytes(data[:4], "big")),
    ):
        if size in kinds and len(data) >= size:
            header = kinds[size](data[:size], order, check=False)
            if header["magic"].item()[:3] in _MAGIC:
                return header
    raise UnreadableScanError("is not a NIfTI file", where=path)


def _affine(header: Any) -> npt.NDArray[np.float64]:
    """Return the sform, else the qform, else the voxel sizes alone: from indices to LPS mm."""
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # the standard reads 0 as 1
    names = ["quatern_b", "quatern_c", "quatern_d"]
    length = math.hypot(*(float(header[name]) for name in names))
    if 1 < length < ROUNDED_QUATERNION:
        for name in names:
            header[name] /= length
    ras = np.array(header.get_best_affine(), np.float64)
    unit_mm = _UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.diag([-unit_mm, -unit_mm, unit_mm, 1.0]) @ ras


def _opened(path: Path) -> BinaryIO:
    """Open a file, packed or not, whatever its name says."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(path)) if packed else path.open("rb")


def _first_bytes(path: Path, count: int) -> npt.NDArray[np.uint8] | bytes:
    """Return the first bytes of a file's content, fewer where it has no more.

    A packed file is read to its end, so that its checksum is compared.
    """
    import imagecodecs

    packed = path.stat().st_size
    with _opened(path) as stream:
        if not isinstance(stream, gzip.GzipFile):
            return stream.read(min(count, packed))
        count = min(count, packed * LARGEST_RATIO)
        with contextlib.suppress(RuntimeError, ValueError):
            # Three times as fast, but for one gzip member without anything behind it.
            content = imagecodecs.gzip_decode(path.read_bytes(), out=np.empty(count, np.uint8))
            if len(content) == count:
                return np.asarray(content)
        data = stream.read(count)
        while stream.read(1 << 20):
            pass
    return data


def _broken(path: Path, what: str) -> UnreadableScanError:
    return UnreadableScanError(f"has a broken header ({what})", where=path)
