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
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError, cannot_read
from darnet_trt.scan.volume_files.header import ImageHeader

LARGEST_MM: Final = 1e6
"""A voxel size or a position beyond this is a mistake."""
SMALLEST_MM: Final = 1e-6
ROUNDED_QUATERNION: Final = 1.01
"""Writers round quaternions: one this long still is a unit quaternion."""
LARGEST_RATIO: Final = 1032
"""gzip packs at most this many bytes into one."""
_UNIT_MM: Final = {1: 1000.0, 3: 0.001}
"""xyzt_units: metres and micrometres; everything else means millimetres."""
_DAMAGED: Final = (OSError, EOFError, zlib.error, MemoryError)


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Not a NIfTI file, a data type that no CT has, or an impossible grid.
    """
    from nibabel.spatialimages import HeaderDataError

    header = _header(path)
    try:
        with np.errstate(all="ignore"):
            affine = _affine(header)
            header.get_slope_inter()  # fails where the two contradict each other
    except (HeaderDataError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if not (np.abs(affine) <= LARGEST_MM).all():  # nor NaN
        raise _broken(path, f"its geometry is not a number, or beyond {LARGEST_MM:g} mm")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < SMALLEST_MM:
        raise _broken(path, "voxels of size 0")
    size = _size(header)
    lengths = (*spacing.tolist(), *(1.0 for _ in size[3:]))
    return ImageHeader(size, lengths, tuple(affine[:3, 3].tolist()), affine[:3, :3] / spacing)


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """Return the values of a volume whose header was read, scaled by scl_slope and scl_inter.

    Returns:
        Shape (k, j, i).

    Raises:
        UnreadableScanError: Truncated or corrupt.
    """
    header = _header(path)
    shape = _size(header)[2::-1]
    dtype: np.dtype[Any] = header.get_data_dtype()
    count, start = math.prod(shape), max(int(header["vox_offset"]), header.sizeof_hdr)
    end = start + count * dtype.itemsize
    try:
        data = _first_bytes(path, end)
    except _DAMAGED as error:
        raise cannot_read(path, error) from error
    if len(data) < end:
        raise UnreadableScanError(
            f"is truncated: {max(len(data) - start, 0)} of {end - start} bytes of voxels",
            where=path,
            do="copy it again",
        )
    stored = np.frombuffer(data, dtype, count, start).reshape(shape)
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope, intercept) == (1, 0):
        return stored.astype(dtype.newbyteorder("="), copy=False)
    values = stored.astype(np.float32)
    with np.errstate(all="ignore"):  # the caller looks for what is not a number
        values *= np.float32(slope)
        values += np.float32(intercept)
    return values


def _header(path: Path) -> Any:
    """Return nibabel's view of a header whose data type, size and offset are possible."""
    import nibabel

    try:
        with _opened(path) as stream:
            data = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    except _DAMAGED as error:
        raise cannot_read(path, error) from error
    kinds = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
    little, big = (int.from_bytes(data[:4], order) for order in ("little", "big"))
    size = little if little in kinds else big
    if size not in kinds or len(data) < size:
        raise UnreadableScanError("is not a NIfTI file", where=path)
    header = kinds[size](data[:size], "<" if little in kinds else ">", check=False)
    if header["magic"].item()[:3] not in (b"n+1", b"ni1", b"n+2", b"ni2"):
        raise UnreadableScanError("is not a NIfTI file", where=path)
    axes, *dims = header["dim"].tolist()
    if not 1 <= axes <= 7 or min(dims[:axes]) < 1:
        listed = "×".join(map(str, dims[: max(axes, 1)]))
        raise _broken(path, f"{axes} dimensions, {listed} voxels")
    code = int(header["datatype"])
    dtype = nibabel.nifti1.data_type_codes.dtype.get(code, np.dtype("V"))
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnreadableScanError(f"has data type {code}, which no CT has", where=path)
    offset = float(header["vox_offset"])
    if not 0 <= offset < 1 << 62:
        raise _broken(path, f"its voxels begin at byte {offset:g}")
    return header


def _size(header: Any) -> tuple[int, ...]:
    """Return the voxels along each axis; drop axes of length 1 behind the third."""
    axes, *dims = header["dim"].tolist()
    while axes > 3 and dims[axes - 1] == 1:
        axes -= 1
    return tuple(dims[:axes])


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
            # Three times as fast as gzip, but it stops behind the first of several members.
            content = imagecodecs.gzip_decode(path.read_bytes(), out=np.empty(count, np.uint8))
            if len(content) == count:
                return np.asarray(content)
        data = stream.read(count)
        while stream.read(1 << 20):
            pass
    return data


def _broken(path: Path, what: str) -> UnreadableScanError:
    return UnreadableScanError(f"has a broken header ({what})", where=path)
