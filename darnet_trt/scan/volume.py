"""A CT volume in Hounsfield units with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume, axes in the order d h w, always oriented S P L.

    Increasing d goes to the patient's head (Superior), increasing h to the back
    (Posterior), increasing w to the patient's Left: DICOM's patient coordinates
    (PS3.3 C.7.6.2.1.1) with the slowest axis first. Readers reorient to this.

    Attributes:
        hu: Hounsfield units, shape (d, h, w), int16 or float32.
        spacing_mm: Distance of voxel centres along d, h, w.
        origin_mm: LPS coordinates x, y, z of the centre of voxel (0, 0, 0).
        direction: 3×3, columns are the LPS unit vectors of the d, h and w axes.
    """

    hu: npt.NDArray[np.int16] | npt.NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: npt.NDArray[np.float64] = field(default_factory=lambda: np.eye(3)[::-1].copy())

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Physical size along d, h, w, counting whole voxels."""
        d, h, w = self.hu.shape
        return (d * self.spacing_mm[0], h * self.spacing_mm[1], w * self.spacing_mm[2])
