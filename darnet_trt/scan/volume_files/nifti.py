"""NIfTI-1, NIfTI-2 and ANALYZE 7.5 files (.nii, or .hdr with .img; gzipped or not).

nibabel reads the header. It could read the voxels too, but it allocates whatever size the header
claims before it looks at the file, and scales two-byte voxels to eight bytes each. ITK repairs a
sheared affine without a word.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from darnet_trt.errors import Finding, UnreadableScanError, cannot_open, cannot_read
from darnet_trt.machine.archives import open_file
from darnet_trt.machine.unpacking import GZIP
from darnet_trt.scan.volume_files.affine import place
from darnet_trt.scan.volume_files.beside import file_beside, is_missing
from darnet_trt.scan.volume_files.header import ImageHeader, without_ones
from darnet_trt.scan.volume_files.text_header import broken_header
from darnet_trt.scan.volume_files.voxels import DAMAGED, Unpacked, Voxels

LARGEST_OFFSET: Final = 1 << 26
"""Bytes; header extensions have some thousand."""
IMAGE_SUFFIXES: Final = (".img", ".img.gz")
_TURNED: Final = {1: "coronal", 2: "sagittal", 4: "coronal", 5: "sagittal"}
"""ANALYZE's `orient`; all else is transverse."""
_ORIENT: Final = 252
"""The byte at which it stands."""


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Not a NIfTI or ANALYZE file, a data type that no CT has, or an
            impossible grid.
    """
    from nibabel.spatialimages import HeaderDataError

    data = _start(path)
    header, pair, analyze = _header(path, data)
    try:
        with np.errstate(all="ignore"):
            placement = place(header, coded=not analyze)
            slope, intercept = header.get_slope_inter()  # fails where they contradict each other
    except (HeaderDataError, ValueError) as error:
        raise broken_header(path, str(error)) from error
    refusal = placement.refusal
    if analyze and data[_ORIENT] in _TURNED:
        refusal = Finding("not-axial", f"{_TURNED[data[_ORIENT]]} slices, not axial ones")
    axes, *dims = header["dim"].tolist()
    return ImageHeader(
        size=without_ones(tuple(dims[:axes])),
        voxels=_voxels(path, header, pair, 1.0 if slope is None else slope, intercept or 0.0),
        steps_mm=placement.affine[:3, :3],
        origin_mm=tuple(placement.affine[:3, 3].tolist()),
        oriented=placement.oriented,
        refusal=refusal,
        warnings=placement.warnings,
    )


def header_of(path: Path) -> Path | None:
    """Return the .hdr file whose voxels an .img file holds, or None."""
    for suffix in IMAGE_SUFFIXES:
        if path.name.lower().endswith(suffix):
            with contextlib.suppress(UnreadableScanError):
                return _sibling(path, suffix, (".hdr", ".hdr.gz"))
    return None


def _start(path: Path) -> bytes:
    """Return the first bytes, unpacked."""
    import nibabel

    try:
        with open_file(path) as stream:
            packed = stream.read(2) == GZIP
            stream.seek(0)
            source = Unpacked(stream, "deflate") if packed else stream
            return source.read(nibabel.Nifti2Header.sizeof_hdr)
    except DAMAGED as error:
        raise cannot_read(path, error) from error


def _header(path: Path, data: bytes) -> tuple[Any, bool, bool]:
    """Return nibabel's view of a header with a possible data type, size and offset.

    Returns:
        The header, whether its voxels lie in a file beside it, and whether it is ANALYZE's.
    """
    import nibabel

    kinds = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
    little, big = (int.from_bytes(data[:4], order) for order in ("little", "big"))
    size = little if little in kinds else big
    if size not in kinds or len(data) < size:
        raise _not_nifti(path)
    header = kinds[size](data[:size], "<" if little in kinds else ">", check=False)
    magic = header["magic"].item()[:3]
    named_header = path.name.lower().endswith((".hdr", ".hdr.gz"))
    analyze = magic not in ((b"n+1", b"ni1") if size == 348 else (b"n+2", b"ni2"))
    if analyze and not (named_header and size == 348):
        raise _not_nifti(path)
    axes, *dims = header["dim"].tolist()
    if not 1 <= axes <= 7 or min(dims[:axes]) < 1:
        listed = "×".join(map(str, dims[: max(axes, 1)]))
        raise broken_header(path, f"{axes} dimensions, {listed} voxels")
    return header, named_header and magic[:2] != b"n+", analyze


def _voxels(path: Path, header: Any, pair: bool, slope: float, intercept: float) -> Voxels:
    import nibabel

    code, bits = int(header["datatype"]), int(header["bitpix"])
    dtype: np.dtype[Any] = nibabel.nifti1.data_type_codes.dtype.get(code, np.dtype("V"))
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        what = Finding("not-ct-values", f"has data type {code}, which no CT has")
        raise UnreadableScanError(what, where=path, do="convert it to int16 or float32")
    if bits not in (0, dtype.itemsize * 8):
        raise broken_header(path, f"data type {code}, {bits} bits a voxel")
    offset = float(header["vox_offset"])
    if not 0 <= offset < LARGEST_OFFSET:
        raise broken_header(path, f"its voxels begin at byte {offset:g}")
    start, file = int(offset), path
    if pair:
        found = _sibling(path, ".hdr", IMAGE_SUFFIXES)
        if found is None:
            what = Finding("no-voxel-file", "has no file for its voxels, .img, beside it")
            raise UnreadableScanError(what, where=path, do="copy both files again")
        file = found
    else:
        start = max(start, header.single_vox_offset)  # as nibabel, where it says less
    dtype = dtype.newbyteorder(header.endianness)
    try:
        with open_file(file) as stream:
            packed = stream.read(2) == GZIP
    except OSError as error:
        raise cannot_open(file, error) from error
    if packed:
        return Voxels(file, dtype, 0, "deflate", start, slope, intercept)
    return Voxels(file, dtype, start, slope=slope, intercept=intercept)


def _sibling(path: Path, suffix: str, others: tuple[str, ...]) -> Path | None:
    """Return the file of the same name but another suffix, in its own spelling or capitals.

    Raises:
        UnreadableScanError: It lies elsewhere, or is no regular file.
    """
    stem = path.name[: path.name.lower().rindex(suffix)]
    for other in others:
        for name in (stem + other, stem + other.upper()):
            try:
                return file_beside(path, name)
            except UnreadableScanError as error:
                if not is_missing(error):
                    raise
    return None


def _not_nifti(path: Path) -> UnreadableScanError:
    what = Finding("not-the-format", "is not a NIfTI file")
    return UnreadableScanError(what, where=path, do="copy it again, or rename it")
