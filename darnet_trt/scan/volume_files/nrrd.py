"""NRRD files (.nrrd, .nhdr), as SimpleITK reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError, cannot_open
from darnet_trt.scan.volume_files.header import ImageHeader


def read_header(path: Path) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Corrupt, or not an NRRD file.
    """
    import SimpleITK

    reader = _reader(path)
    axes = reader.GetDimension()
    complex_ids = (SimpleITK.sitkComplexFloat32, SimpleITK.sitkComplexFloat64)
    return ImageHeader(
        size=reader.GetSize(),
        spacing_mm=reader.GetSpacing(),
        origin_mm=reader.GetOrigin(),
        direction=np.array(reader.GetDirection()).reshape(axes, axes),
        components=2 if reader.GetPixelID() in complex_ids else reader.GetNumberOfComponents(),
    )


def read_voxels(path: Path) -> npt.NDArray[Any]:
    """Return the values of a volume: (k, j, i).

    Raises:
        UnreadableScanError: Truncated or corrupt.
    """
    import SimpleITK

    reader = _reader(path)
    if reader.GetDimension() == 4:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
    try:
        return np.asarray(SimpleITK.GetArrayFromImage(reader.Execute()))
    except RuntimeError as error:
        raise UnreadableScanError(
            f"cannot be read ({_reason(error)})", where=path, do="copy it again"
        ) from error


def _reader(path: Path) -> Any:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # its errors arrive as exceptions
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise cannot_open(path, error) from error
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnreadableScanError(
            f"is not a readable NRRD file ({_reason(error)})", where=path, do="copy it again"
        ) from error
    return reader


def _reason(error: Exception) -> str:
    """Return what ITK means: its last line goes deepest; its C++ places help nobody."""
    text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    if "Unable to determine ImageIO reader" in text:
        return "its content is not what its name says"
    return text.strip().rpartition(": ")[-1].rstrip(".!:") or "ITK gives no reason"
