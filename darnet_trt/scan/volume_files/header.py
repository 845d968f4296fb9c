"""What the header of a volume file says of its grid, whichever reader found it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ImageHeader"]


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """The stored grid, axes in the order i j k, fastest first, as ITK has them.

    Attributes:
        size: Voxels along each axis.
        spacing_mm: Along each axis.
        origin_mm: LPS coordinates of the first voxel's centre.
        direction: (n, n), columns are the LPS unit vectors of the axes.
        components: Values a voxel.
        complex_values: Whether they are complex numbers.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: npt.NDArray[np.float64]
    components: int = 1
    complex_values: bool = False
