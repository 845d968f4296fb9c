"""Volume files: NIfTI, NRRD and MetaImage, judged by their headers and reoriented to S, P, L."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.plausibility.grid import (
    far_apart,
    oblique,
    tilted,
    too_few,
    too_small,
    too_wide,
)
from darnet_trt.scan.plausibility.hounsfield import refuse_not_numbers
from darnet_trt.scan.series import Format, Series, Verdict
from darnet_trt.scan.volume import Volume
from darnet_trt.scan.volume_files import metaimage, nifti, nrrd
from darnet_trt.scan.volume_files.header import ImageHeader

_FORMATS: Final[dict[str, Format]] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}
_READERS: Final[dict[Format, ModuleType]] = {"nifti": nifti, "nrrd": nrrd, "mha": metaimage}


def image_format(path: Path) -> Format | None:
    """Return the format that a file's name promises, or None."""
    name = path.name.lower()
    return next((kind for suffix, kind in _FORMATS.items() if name.endswith(suffix)), None)


def image_series(path: Path) -> Series:
    """Return a volume file as a series, judged by its header.

    Raises:
        UnreadableScanError: Truncated, corrupt or another format than its name promises.
    """
    kind = image_format(path)
    assert kind is not None
    header: ImageHeader = _READERS[kind].read_header(path)
    size, spacing = header.size, header.spacing_mm
    refusal: str | None
    if len(size) == 4 and size[3] == 1:
        size, spacing = size[:3], spacing[:3]
    if len(size) != 3:
        refusal = f"a {len(size)}-dimensional image, not a volume"
    elif header.components != 1:
        refusal = f"{header.components} values a voxel, not Hounsfield units"
    else:
        refusal = _judge_grid(header.direction[:3, :3])
    depth, rows, columns = 0, 0, 0
    spacing_mm = None
    if refusal is None:
        x, y, z = header.axes
        depth, rows, columns = size[z], size[y], size[x]
        spacing_mm = (spacing[z], spacing[y], spacing[x])
        refusal = (
            too_few(depth)
            or too_small(rows, columns)
            or far_apart(spacing_mm[0])
            or too_wide((rows, columns), spacing_mm[1:])
        )
    reason = refusal or f"{depth} axial slices, {depth * (spacing_mm or (0,))[0]:.0f} mm"
    return Series(
        path=path,
        format=kind,
        files=(path,),
        description=path.name,
        slices=depth or 1,
        matrix=(rows, columns),
        spacing_mm=spacing_mm,
        verdict=Verdict(refusal is None, reason),
    )


def read_image(series: Series) -> Volume:
    """Read the whole volume.

    Raises:
        UnreadableScanError: Truncated or corrupt.
        RefusedScanError: Values that are not numbers.
    """
    reader = _READERS[series.format]
    header: ImageHeader = reader.read_header(series.path)
    stored = reader.read_voxels(series.path)
    values, origin, direction = _oriented(stored.reshape(stored.shape[-3:]), header)
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported as infinite
        hu = values if values.dtype == np.int16 else values.astype(np.float32)
    if values.dtype.kind == "f":
        refuse_not_numbers(hu, series.path)
    x, y, z = header.axes
    spacing = header.spacing_mm
    return Volume(hu, (spacing[z], spacing[y], spacing[x]), origin, direction[:, ::-1])


def _oriented(
    stored: npt.NDArray[Any], header: ImageHeader
) -> tuple[npt.NDArray[Any], tuple[float, float, float], npt.NDArray[np.float64]]:
    """Turn a volume (k, j, i) to S P L; return it, its origin and its directions along x, y, z."""
    axes = header.axes
    if axes != (0, 1, 2):  # slices are read one by one: each shall lie in one piece
        stored = np.ascontiguousarray(stored.transpose([2 - axis for axis in axes[::-1]]))
    direction = header.direction[:3, :3][:, axes]
    origin = np.array(header.origin_mm[:3])
    for axis, of in enumerate(axes):
        if direction[axis, axis] < 0:
            origin += direction[:, axis] * header.spacing_mm[of] * (header.size[of] - 1)
            direction[:, axis] *= -1
            stored = np.flip(stored, 2 - axis)
    x, y, z = origin.tolist()
    return stored, (x, y, z), direction


def _judge_grid(direction: npt.NDArray[np.float64]) -> str | None:
    if not np.isfinite(direction).all():
        return "its direction matrix holds values that are not numbers"
    if len({int(axis) for axis in np.abs(direction).argmax(axis=0)}) < 3:
        return "its direction matrix does not have three different axes"
    shear = np.abs(np.triu(direction.T @ direction, 1)).max()
    cosine = np.abs(direction).max(axis=0).min()
    tilt_deg = np.degrees(np.arcsin(np.clip(shear, 0, 1)))
    return tilted(tilt_deg) or oblique(np.degrees(np.arccos(np.clip(cosine, 0, 1))))
