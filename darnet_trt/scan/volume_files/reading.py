"""Headers and values of volume files, each read by the module for its format."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.series import Format
from darnet_trt.scan.volume_files import metaimage, nifti, nrrd
from darnet_trt.scan.volume_files.header import ImageHeader

__all__ = ["read_header", "read_oriented"]

_READERS: Final[dict[Format, ModuleType]] = {"nifti": nifti, "nrrd": nrrd, "mha": metaimage}


def read_header(path: Path, kind: Format) -> ImageHeader:
    """Return the stored grid.

    Raises:
        UnreadableScanError: Corrupt, or another format than its name promises.
    """
    header: ImageHeader = _READERS[kind].read_header(path)
    return header


def read_oriented(path: Path, kind: Format) -> tuple[npt.NDArray[Any], ImageHeader]:
    """Return the values, oriented S P L, and their grid, its axes x y z along L P S.

    Raises:
        UnreadableScanError: Truncated or corrupt.
    """
    header = read_header(path, kind)
    stored = _READERS[kind].read_voxels(path)
    stored = stored.reshape(stored.shape[-3:])
    axes = header.axes
    if axes != (0, 1, 2):
        # The stored array has its axes reversed: k j i. Slices are read whole, so each lies whole.
        stored = np.ascontiguousarray(stored.transpose([2 - axis for axis in axes[::-1]]))
    size, spacing = [header.size[a] for a in axes], [header.spacing_mm[a] for a in axes]
    direction = header.direction[:3, :3][:, axes]
    origin = np.array(header.origin_mm[:3])
    for axis in range(3):
        if direction[axis, axis] < 0:
            origin += direction[:, axis] * spacing[axis] * (size[axis] - 1)
            direction[:, axis] *= -1
            stored = np.flip(stored, 2 - axis)
    grid = ImageHeader(tuple(size), tuple(spacing), tuple(origin.tolist()), direction)
    return stored, grid
