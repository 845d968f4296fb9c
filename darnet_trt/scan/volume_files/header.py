"""The grid of a volume file, as its header gives it, for every format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """The stored grid, axes in the order i j k, fastest first, as ITK has them.

    Attributes:
        size: Voxels along each axis.
        spacing_mm: Along each axis.
        origin_mm: LPS coordinates of the first voxel's centre.
        direction: Columns are the LPS unit vectors of the axes; (3, 3) for a volume.
        components: Values a voxel; a complex number is two.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: npt.NDArray[np.float64]
    components: int = 1

    @property
    def axes(self) -> tuple[int, int, int]:
        """Return the stored axis that lies closest to the patient's x, to y and to z."""
        x, y, z = np.abs(self.direction[:3, :3]).argmax(axis=1).tolist()
        return x, y, z
