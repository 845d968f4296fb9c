"""Volume files: NIfTI, NRRD and MetaImage, judged by their headers and reoriented to S, P, L."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.plausibility.grid import MAX_MATRIX, far_apart, too_few, too_small, wrong_field
from darnet_trt.scan.series import Format, Series, Verdict
from darnet_trt.scan.volume import Volume
from darnet_trt.scan.volume_files import metaimage, nifti, nrrd
from darnet_trt.scan.volume_files.geometry import (
    check_lengths,
    is_default,
    judge_axes,
    perpendicular,
)
from darnet_trt.scan.volume_files.header import ImageHeader
from darnet_trt.scan.volume_files.voxels import check_file, read_hu

MAX_BYTES: Final = 1 << 30
"""Of Hounsfield units in memory: 512×512×2048 as int16, 512×512×1024 as float32. With the rest of
the program this stays below 1.5 GB."""
MAX_SLICES: Final = 5000
"""2.5 m at 0.5 mm."""
UNORIENTED: Final = Finding(
    "no-orientation",
    "the header does not say how the axes lie in the patient: they were taken as left-right, "
    "front-back and foot-head, and left and right may be exchanged",
)
DEFAULT_ORIENTATION: Final = Finding(
    "default-orientation",
    "the axes begin at 0, 0, 0 and run along the patient's, as programs write them where nobody "
    "gives an orientation: check head, back and left against the original scan",
)
_FORMATS: Final[dict[str, Format]] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".hdr": "nifti",
    ".hdr.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}
_READERS: Final[dict[Format, ModuleType]] = {"nifti": nifti, "nrrd": nrrd, "mha": metaimage}


def image_format(path: Path) -> Format | None:
    """Return the format that a file's name promises, or None.

    An .img file is a volume file where its .hdr file lies beside it.
    """
    name = path.name.lower()
    kind = next((kind for suffix, kind in _FORMATS.items() if name.endswith(suffix)), None)
    return "nifti" if kind is None and nifti.header_of(path) else kind


def image_series(path: Path, kind: Format | None = None) -> Series:
    """Return a volume file as a series, judged by its header.

    Args:
        path: The file with the header; of a NIfTI or ANALYZE pair, either file.
        kind: Its format; None: what its name promises.

    Raises:
        UnreadableScanError: Truncated, corrupt or another format than `kind`.
    """
    path = nifti.header_of(path) or path
    kind = kind or image_format(path)
    assert kind is not None
    header: ImageHeader = _READERS[kind].read_header(path)
    refusal = _not_a_volume(header)
    depth, rows, columns, spacing_mm = 0, 0, 0, None
    if refusal is None:
        check_lengths(path, header)
        check_file(header.voxels, header.size)
        columns, rows, depth = (header.size[axis] for axis in header.axes)
        w_mm, h_mm, d_mm = header.spacing_mm[list(header.axes)].tolist()
        spacing_mm = (d_mm, h_mm, w_mm)
        refusal = (
            header.refusal
            or judge_axes(header)
            or too_few(depth)
            or too_small(rows, columns)
            or wrong_field((rows, columns), spacing_mm[1:])
            or far_apart(d_mm)
            or _too_large(depth, rows, columns, np.dtype(header.voxels.hu_dtype).itemsize)
        )
    if refusal is None:
        usable = Finding("usable", f"{depth} axial slices, {depth * d_mm:.0f} mm")
        unsure = () if header.oriented else (UNORIENTED,)
        default = (DEFAULT_ORIENTATION,) if is_default(header) else ()
        verdict = Verdict(True, usable, (*unsure, *default, *header.warnings))
    else:
        verdict = Verdict(False, refusal)
    return Series(
        path=path,
        format=kind,
        files=tuple(dict.fromkeys((path, header.voxels.file))),
        description=path.name,
        slices=depth or 1,
        matrix=(rows, columns),
        spacing_mm=spacing_mm,
        verdict=verdict,
        oriented=header.oriented,
    )


def read_image(series: Series) -> Volume:
    """Read the whole volume.

    Raises:
        UnreadableScanError: Truncated or corrupt.
        RefusedScanError: Values that are not numbers.
    """
    header: ImageHeader = _READERS[series.format].read_header(series.path)
    axes = header.axes
    hu = read_hu(header.voxels, header.size, axes)
    spacing = header.spacing_mm[list(axes)]
    direction = perpendicular(header.steps_mm[:, axes] / spacing)  # of x, y and z
    origin = np.array(header.origin_mm)
    for axis, mm in enumerate(spacing):
        if direction[axis, axis] < 0:
            origin += direction[:, axis] * mm * (hu.shape[2 - axis] - 1)
            direction[:, axis] *= -1
            hu = np.flip(hu, 2 - axis)
    x, y, z = origin.tolist()
    w_mm, h_mm, d_mm = spacing.tolist()
    return Volume(hu, (d_mm, h_mm, w_mm), (x, y, z), direction[:, ::-1])


def _not_a_volume(header: ImageHeader) -> Finding | None:
    if len(header.size) != 3:
        return Finding("not-a-volume", f"a {len(header.size)}-dimensional image, not a volume")
    if header.components != 1:
        text = f"{header.components} values a voxel, not Hounsfield units"
        return Finding("multi-valued", text)
    return None


def _too_large(depth: int, rows: int, columns: int, itemsize: int) -> Finding | None:
    """Return the refusal where a volume is larger than a CT, or than what is kept in memory."""
    size = math.prod((depth, rows, columns, itemsize))
    if size <= MAX_BYTES and max(rows, columns) <= MAX_MATRIX and depth <= MAX_SLICES:
        return None
    return Finding(
        "too-large",
        f"{depth} slices of {rows}×{columns} pixels, {size / 1e9:.1f} GB "
        f"(at most {MAX_BYTES / 1e9:.2f} GB, {MAX_SLICES} slices of {MAX_MATRIX}×{MAX_MATRIX}): "
        "give its DICOM series, or resample it to larger voxels",
    )
