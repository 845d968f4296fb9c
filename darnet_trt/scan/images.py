"""Volume files: NIfTI, NRRD and MetaImage, read with SimpleITK and reoriented to S, P, L."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan.nifti import read_voxels
from darnet_trt.scan.positions import (
    MAX_OBLIQUE_DEG,
    MAX_STEP_MM,
    MIN_MATRIX,
    MIN_SLICES,
    too_wide,
)
from darnet_trt.scan.series import Format, Series, Verdict
from darnet_trt.scan.volume import Volume

__all__ = ["image_format", "image_series", "read_image"]

_FORMATS: Final[dict[str, Format]] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}
_ORIENTATION: Final = "LPS"
"""ITK names axes by where they lead: x to the Left, y to the Posterior, z to the Superior. The
array that SimpleITK returns has them reversed: d h w = S P L."""


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
    reader = _reader(path)
    sitk = _simpleitk()
    size, spacing = reader.GetSize(), reader.GetSpacing()
    refusal: str | None
    if reader.GetDimension() == 4 and size[3] == 1:
        size, spacing = size[:3], spacing[:3]
    if len(size) != 3:
        refusal = f"a {len(size)}-dimensional image, not one volume"
    elif reader.GetNumberOfComponents() != 1:
        refusal = (
            f"{reader.GetNumberOfComponents()} values a voxel (colour or vector image), not HU"
        )
    elif reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        refusal = "complex values, not HU"
    else:
        refusal = _judge_grid(_direction(reader))
    depth, rows, columns = 0, 0, 0
    spacing_mm = None
    if refusal is None:
        # Which stored axis becomes d, h, w: the one that follows the patient's z, y, x best.
        axes = np.abs(_direction(reader)).argmax(axis=1)[::-1].tolist()
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
    sitk = _simpleitk()
    reader = _reader(series.path)
    if reader.GetDimension() == 4:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
    try:
        image = _nifti(series.path, reader) if series.format == "nifti" else reader.Execute()
        image = sitk.DICOMOrient(image, _ORIENTATION)
    except RuntimeError as error:
        raise UnreadableScanError(
            f"cannot be read ({_reason(error)})", where=series.path, do="copy it again"
        ) from error
    values = sitk.GetArrayFromImage(image)
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
    x_mm, y_mm, z_mm = image.GetSpacing()
    x, y, z = image.GetOrigin()
    direction = np.array(image.GetDirection()).reshape(3, 3)[:, ::-1]
    return Volume(hu, (z_mm, y_mm, x_mm), (x, y, z), direction)


def _nifti(path: Path, reader: Any) -> Any:
    """An image of the file's own values with the geometry that ITK finds."""
    image = _simpleitk().GetImageFromArray(read_voxels(path))
    image.SetSpacing(reader.GetSpacing()[:3])
    image.SetOrigin(reader.GetOrigin()[:3])
    image.SetDirection(_direction(reader).ravel().tolist())
    return image


def _direction(reader: Any) -> npt.NDArray[np.float64]:
    """3×3, columns are the LPS unit vectors of the stored axes i, j, k."""
    axes = reader.GetDimension()
    return np.array(reader.GetDirection()).reshape(axes, axes)[:3, :3]


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


def _reader(path: Path) -> Any:
    sitk = _simpleitk()
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UnreadableScanError(
            f"cannot be opened ({error.strerror})", where=path, do="check its permissions"
        ) from error
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnreadableScanError(
            f"is not a readable {image_format(path)} file ({_reason(error)})", where=path
        ) from error
    return reader


def _reason(error: Exception) -> str:
    """What ITK means, without its C++ source positions: its last line goes deepest."""
    text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    if "Unable to determine ImageIO reader" in text:
        return "its content is not what its name says"
    return text.strip().rpartition(": ")[-1].rstrip(".!:") or "ITK gives no reason"


def _simpleitk() -> ModuleType:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # its errors arrive as exceptions
    return SimpleITK  # type: ignore[no-any-return]
