"""The voxels of a slab of slices, and how materials are mixed into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.scanner.acquisition import Acquisition

Array = npt.NDArray[Any]  # float32 in practice; NumPy's stubs lose track


class Grid:
    """Voxel centres of a slab, in the scanner's frame (q) and in the body's (x, y, z)."""

    def __init__(self, acquisition: Acquisition, first: int, last: int) -> None:
        self.acquisition = acquisition
        _, h, w = acquisition.shape
        dz, dy, dx = acquisition.spacing_mm
        self.qx = ((np.arange(w) - (w - 1) / 2) * dx).astype(np.float32)
        self.qy = ((np.arange(h) - (h - 1) / 2) * dy).astype(np.float32)
        self.qz = (acquisition.bottom_mm + np.arange(first, last) * dz).astype(np.float32)
        self.z = self.qz[:, None, None]
        x = self.qx[None, None, :] - acquisition.shift_mm[0] - acquisition.drift[0] * self.z
        y = self.qy[None, :, None] - acquisition.shift_mm[1] - acquisition.drift[1] * self.z
        c, s = np.float32(np.cos(acquisition.rotation)), np.float32(np.sin(acquisition.rotation))
        self.x: Array = c * x + s * y
        self.y: Array = c * y - s * x
        self.pixel = np.float32(dx)
        self.depth = np.float32(dz)

    def place(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Turn body coordinates (n, 3) into the scanner's frame."""
        a = self.acquisition
        c, s = np.cos(a.rotation), np.sin(a.rotation)
        x, y, z = points.T
        return np.stack(
            [
                c * x - s * y + a.shift_mm[0] + a.drift[0] * z,
                s * x + c * y + a.shift_mm[1] + a.drift[1] * z,
                z,
            ],
            axis=1,
        )

    def box(
        self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
    ) -> tuple[slice, slice, slice] | None:
        """Return index ranges (d, h, w) of the voxels between two corners, None when empty."""
        ranges = []
        for axis, values in ((2, self.qz), (1, self.qy), (0, self.qx)):
            i, j = np.searchsorted(values, (low[axis], high[axis]))
            if i >= j:
                return None
            ranges.append(slice(int(i), int(j)))
        return ranges[0], ranges[1], ranges[2]

    def voxel(self, point: npt.NDArray[np.float64]) -> tuple[slice, slice, slice] | None:
        """Return the index ranges of the voxel around a body's point, None outside the slab."""
        centre = self.place(point[None])[0]
        half = 0.5 * np.array([self.pixel, self.pixel, self.depth])
        return self.box(centre - half, centre + half)

    def cover(self, distance: Array) -> Array:
        """Return the share of a voxel inside a surface, from its centre's distance in mm."""
        share: Array = np.clip(distance / self.pixel + np.float32(0.5), 0, 1)
        return share


def mix(hu: Array, share: Array, value: Array | float) -> None:
    """Replace a share of each voxel by another material, in place."""
    difference = value - hu
    difference *= share
    hu += difference
