"""The grid of a volume file, as its header gives it, for every format."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding
from darnet_trt.scan.volume_files.voxels import Voxels

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """The stored grid, axes in the order i j k, fastest first.

    Attributes:
        size: Voxels along each axis; a volume has three axes.
        voxels: Where the values lie.
        steps_mm: 3×3, columns are the LPS steps from one voxel to the next along i, j and k.
        origin_mm: LPS coordinates of the first voxel's centre.
        components: Values a voxel; a complex number is two.
        oriented: Whether the header says how the axes lie in the patient.
        refusal: Why the header's own entries forbid to trust it.
        warnings: What is unusual about them.
    """

    size: tuple[int, ...]
    voxels: Voxels
    steps_mm: Matrix = field(default_factory=lambda: np.eye(3))
    origin_mm: tuple[float, ...] = (0.0, 0.0, 0.0)
    components: int = 1
    oriented: bool = True
    refusal: Finding | None = None
    warnings: tuple[Finding, ...] = ()

    @property
    def spacing_mm(self) -> Matrix:
        """Return the distance of voxel centres along i, j and k."""
        return np.asarray(np.linalg.norm(self.steps_mm, axis=0))

    @property
    def axes(self) -> tuple[int, int, int]:
        """Return the stored axis that lies closest to the patient's x, to y and to z."""
        x, y, z = np.argsort(nearest(self.steps_mm)).tolist()
        return x, y, z


def without_ones(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size without axes of length 1 behind the third."""
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    return size


def nearest(steps_mm: Matrix) -> list[int]:
    """Return for each stored axis the patient's axis (0 x, 1 y, 2 z) that it lies closest to."""
    return [int(axis) for axis in np.abs(steps_mm).argmax(axis=0)]
