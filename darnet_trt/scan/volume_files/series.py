"""Volume files: NIfTI, NRRD and MetaImage, judged by their headers and reoriented to S, P, L."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan.dicom.stack import (
    MAX_OBLIQUE_DEG,
    MAX_STEP_MM,
    MIN_MATRIX,
    MIN_SLICES,
    too_wide,
)
from darnet_trt.scan.series import Format, Series, Verdict
from darnet_trt.scan.volume import Volume
from darnet_trt.scan.volume_files.reading import read_header, read_oriented

__all__ = ["image_format", "image_series", "read_image"]

_FORMATS: Final[dict[str, Format]] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}


def image_format(path: Path) -> Format | None:
    """The format that a file's name promises, or None."""
    name = path.name.lower()
    return next((kind for suffix, kind in _FORMATS.items() if name.endswith(suffix)), None)


def image_series(path: Path) -> Series:
    """A volume file as a series, judged by its header.

    Raises:
        UnreadableScanError: Truncated, corrupt or another format than its name promises.
    """
    kind = image_format(path)
    assert kind is not None
    header = read_header(path, kind)
    size, spacing = header.size, header.spacing_mm
    refusal: str | None
    if len(size) == 4 and size[3] == 1:
        size, spacing = size[:3], spacing[:3]
    if len(size) != 3:
        refusal = f"a {len(size)}-dimensional image, not one volume"
    elif header.components != 1:
        refusal = f"{header.components} values a voxel (colour or vector image), not HU"
    elif header.complex_values:
        refusal = "complex values, not HU"
    else:
        refusal = _judge_grid(header.direction[:3, :3])
    depth, rows, columns = 0, 0, 0
    spacing_mm = None
    if refusal is None:
        # Which stored axis becomes d, h, w: the one that follows the patient's z, y, x best.
        axes = np.abs(header.direction[:3, :3]).argmax(axis=1)[::-1].tolist()
        depth, rows, columns = (int(size[a]) for a in axes)
        spacing_mm = (float(spacing[axes[0]]), float(spacing[axes[1]]), float(spacing[axes[2]]))
        refusal = _judge_size(depth, rows, columns, spacing_mm)
    reason = refusal or f"{depth} axial slices, {depth * (spacing_mm or (0,))[0]:.0f} mm"
    return Series(
        path=path,
        format=kind,
        files=(path,),
        uid="",
        description=path.name,
        kernel="",
        matrix=(rows, columns),
        spacing_mm=spacing_mm,
        verdict=Verdict(refusal is None, reason),
        slice_count=depth,
    )


def read_image(series: Series) -> Volume:
    """The whole volume.

    Raises:
        UnreadableScanError: Truncated or corrupt.
        RefusedScanError: Values that are not numbers.
    """
    values, header = read_oriented(series.path, series.format)
    with np.errstate(over="ignore"):  # what float32 cannot hold is told as infinite
        hu = values if values.dtype == np.int16 else values.astype(np.float32)
    if values.dtype.kind == "f":
        bad = int(hu.size - np.isfinite(hu).sum())
        if bad:
            raise RefusedScanError(
                f"{bad} of {hu.size} voxels are not numbers (NaN or infinite)",
                where=series.path,
                do="fill them with air (-1024 HU) if they lie outside the body",
            )
    x_mm, y_mm, z_mm = header.spacing_mm
    x, y, z = header.origin_mm
    return Volume(hu, (z_mm, y_mm, x_mm), (x, y, z), header.direction[:, ::-1])


def _judge_grid(direction: npt.NDArray[np.float64]) -> str | None:
    if not np.isfinite(direction).all():
        return "its direction is not a number"
    cosine = np.abs(direction).max(axis=0).min()
    oblique = float(np.degrees(np.arccos(np.clip(cosine, 0, 1))))
    if oblique > MAX_OBLIQUE_DEG:
        return f"axes lie oblique to the patient's by {oblique:.0f}°"
    if len({int(a) for a in np.abs(direction).argmax(axis=0)}) < 3:
        return "its direction matrix does not name three axes"
    return None


def _judge_size(
    depth: int, rows: int, columns: int, spacing_mm: tuple[float, float, float]
) -> str | None:
    if depth == 1:
        return "a single slice, not a volume"
    if depth < MIN_SLICES:
        return f"{depth} slices are too few for a chest (at least {MIN_SLICES})"
    if min(rows, columns) < MIN_MATRIX:
        return f"slices of {rows}×{columns} pixels"
    if spacing_mm[0] > MAX_STEP_MM:
        return f"slices lie {spacing_mm[0]:.3g} mm apart (at most {MAX_STEP_MM:.3g} mm)"
    return too_wide((rows, columns), spacing_mm[1:])
