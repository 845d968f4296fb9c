"""Lay a scan's voxels into a file's order: flips, and the geometry that undoes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.synthesis import Scan


def as_stored(
    scan: Scan,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Apply the acquisition's flips; the place of every voxel in the patient stays the same.

    Returns:
        The voxels (d, h, w) in the file's order, the LPS coordinates of the first one, and the
        LPS unit vectors of the d, h and w axes as columns.
    """
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
    return np.ascontiguousarray(hu), origin, direction
