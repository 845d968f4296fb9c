"""Headers and values of volume files, each with the reader that is safe for its format.

SimpleITK reads NRRD, NIfTI's geometry, and turns every volume to S, P, L. NIfTI's values and all of
MetaImage are read here: `nifti` and `metaimage` say why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan.series import Format
from darnet_trt.scan.volume_files import metaimage, nifti
from darnet_trt.scan.volume_files.header import ImageHeader

__all__ = ["read_header", "read_oriented"]

_ORIENTATION: Final = "LPS"
"""ITK names axes by where they lead: x to the Left, y to the Posterior, z to the Superior. The
array that SimpleITK returns has them reversed: d h w = S P L."""


def read_header(path: Path, kind: Format) -> ImageHeader:
    """The stored grid.

    Raises:
        UnreadableScanError: Corrupt, or another format than its name promises.
    """
    if kind == "mha":
        return metaimage.read_header(path)
    if kind == "nifti":
        nifti.check_header(path)
    reader = _reader(path, kind)
    axes = reader.GetDimension()
    sitk = _simpleitk()
    return ImageHeader(
        size=reader.GetSize(),
        spacing_mm=reader.GetSpacing(),
        origin_mm=reader.GetOrigin(),
        direction=np.array(reader.GetDirection()).reshape(axes, axes),
        components=reader.GetNumberOfComponents(),
        complex_values=reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64),
    )


def read_oriented(path: Path, kind: Format) -> tuple[npt.NDArray[Any], ImageHeader]:
    """The values, oriented S P L, and the grid that they lie on then (its axes x y z).

    Raises:
        UnreadableScanError: Truncated or corrupt.
    """
    sitk = _simpleitk()
    try:
        image = sitk.DICOMOrient(_READERS[kind](path), _ORIENTATION)
    except RuntimeError as error:
        raise UnreadableScanError(
            f"cannot be read ({_reason(error)})", where=path, do="copy it again"
        ) from error
    direction = np.array(image.GetDirection()).reshape(3, 3)
    header = ImageHeader(image.GetSize(), image.GetSpacing(), image.GetOrigin(), direction)
    return sitk.GetArrayFromImage(image), header


def _nrrd(path: Path) -> Any:
    reader = _reader(path, "nrrd")
    if reader.GetDimension() == 4:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
    return reader.Execute()


def _nifti(path: Path) -> Any:
    return _image(nifti.read_voxels(path), read_header(path, "nifti"))


def _metaimage(path: Path) -> Any:
    stored = metaimage.read_voxels(path)
    return _image(stored.reshape(stored.shape[-3:]), metaimage.read_header(path))


def _image(stored: npt.NDArray[Any], header: ImageHeader) -> Any:
    """ITK's image of these values (k, j, i), with this geometry."""
    image = _simpleitk().GetImageFromArray(stored)
    image.SetSpacing(header.spacing_mm[:3])
    image.SetOrigin(header.origin_mm[:3])
    image.SetDirection(header.direction[:3, :3].ravel().tolist())
    return image


_READERS: Final[dict[Format, Callable[[Path], Any]]] = {
    "nifti": _nifti,
    "nrrd": _nrrd,
    "mha": _metaimage,
}


def _reader(path: Path, kind: Format) -> Any:
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
            f"is not a readable {kind} file ({_reason(error)})", where=path
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
