"""Lay a scan's voxels into a file's order: flips, and the geometry that undoes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.synthesis import Scan

__all__ = ["Stored", "as_stored"]


@dataclass(frozen=True, eq=False)
class Stored:
    """Voxels in the order of a file, with their place in the patient.

    Attributes:
        hu: int16, (d, h, w) in the file's order.
        origin_mm: LPS coordinates of the first voxel.
        direction: 3×3, columns are the LPS unit vectors of the d, h and w axes.
        spacing_mm: Along d, h, w.
    """

    hu: npt.NDArray[np.int16]
    origin_mm: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float, float]


def as_stored(scan: Scan) -> Stored:
    """Apply the acquisition's flips; the place of every voxel in the patient stays the same."""
    volume = scan.volume
    hu = np.asarray(volume.hu, np.int16)
    origin = np.array(volume.origin_mm, float)
    direction = volume.direction.copy()
    w_flip, h_flip, d_flip = scan.acquisition.flips
    for axis, flip in enumerate((d_flip, h_flip, w_flip)):
        if flip:
            origin += direction[:, axis] * volume.spacing_mm[axis] * (hu.shape[axis] - 1)
            direction[:, axis] *= -1
            hu = np.flip(hu, axis)
    return Stored(np.ascontiguousarray(hu), origin, direction, volume.spacing_mm)
