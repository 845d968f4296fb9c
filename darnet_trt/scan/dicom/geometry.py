"""Find from their positions how slices lie in the patient: order, spacing, tilt, S P L.

Everything here follows from ImagePositionPatient (0020,0032) and ImageOrientationPatient
(0020,0037) in the patient's coordinates x to the Left, y to the Posterior, z to the Superior
(PS3.3 C.7.6.2.1.1); PatientPosition is not needed, and often wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of one orientation, in order.

    Attributes:
        order: Indices of the given slices from foot to head.
        positions_mm: Their places along the slice normal, ascending.
        transpose: Whether `turn` swaps the axes of a slice, first.
        flip_h: Whether it then reverses the rows.
        flip_w: Whether it then reverses the columns.
        pixel_mm: Spacing along h and w after `turn`.
        direction: 3×3, columns are the unit vectors of d (the slice normal), h and w.
        origin_mm: Centre of the first voxel of the first slice, after `turn`.
        tilt_deg: Angle between the slice normal and the line through the slices' origins,
            which a tilted gantry causes. 0 for a single slice.
        wander_mm: Largest distance of an origin from that line.
        oblique_deg: Largest angle between an axis and the patient axis it is named for.
        axial: The slice normal is nearer to the patient's long axis than to the others.
    """

    order: tuple[int, ...]
    positions_mm: Vector
    transpose: bool
    flip_h: bool
    flip_w: bool
    pixel_mm: tuple[float, float]
    direction: Vector
    origin_mm: tuple[float, float, float]
    tilt_deg: float
    wander_mm: float
    oblique_deg: float
    axial: bool

    def turn(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of a stored slice whose rows go Posterior and whose columns go Left."""
        if self.transpose:
            stored = stored.T
        return stored[:: -1 if self.flip_h else 1, :: -1 if self.flip_w else 1]


def stack_slices(
    origins_mm: Sequence[Sequence[float]],
    cosines: Sequence[float],
    pixel_mm: Sequence[float],
    matrix: tuple[int, int],
) -> Stack:
    """Order slices along their normal.

    Args:
        origins_mm: ImagePositionPatient of each.
        cosines: ImageOrientationPatient: unit vectors of increasing column, then row index.
        pixel_mm: PixelSpacing (0028,0030): between rows, then between columns.
        matrix: Rows and columns as stored.

    Raises:
        ValueError: The cosines are not two perpendicular unit vectors.
    """
    w_axis, h_axis = np.array(cosines[:3], float), np.array(cosines[3:6], float)
    lengths = np.linalg.norm(w_axis), np.linalg.norm(h_axis)
    if not np.allclose(lengths, 1, atol=0.01) or abs(w_axis @ h_axis) > 0.01:
        raise ValueError("ImageOrientationPatient is not two perpendicular unit vectors")
    h_mm, w_mm = float(pixel_mm[0]), float(pixel_mm[1])
    rows, columns = matrix

    transpose = abs(w_axis[0]) < abs(w_axis[1])
    if transpose:
        w_axis, h_axis, w_mm, h_mm = h_axis, w_axis, h_mm, w_mm
        rows, columns = columns, rows
    flip_w, flip_h = bool(w_axis[0] < 0), bool(h_axis[1] < 0)
    first_voxel = np.zeros(3)  # from the stored slice's first voxel to the reoriented one's
    if flip_w:
        first_voxel += w_axis * w_mm * (columns - 1)
        w_axis = -w_axis
    if flip_h:
        first_voxel += h_axis * h_mm * (rows - 1)
        h_axis = -h_axis
    normal = np.cross(w_axis, h_axis)  # L × P = S
    if normal[2] < 0:
        normal = -normal  # only where the plane is not axial

    origins = np.array(origins_mm, float)
    along = origins @ normal
    order = np.argsort(along, kind="stable")
    run = origins[order[-1]] - origins[order[0]]
    distance = float(np.linalg.norm(run))
    tilt = wander = 0.0
    if distance > 0:
        offset = origins - origins[order[0]]
        straight = np.outer(offset @ run, run) / distance**2
        wander = float(np.linalg.norm(offset - straight, axis=1).max())
        tilt = float(np.degrees(np.arccos(np.clip(abs(run @ normal) / distance, 0, 1))))
    cosine = min(abs(normal[2]), abs(h_axis[1]), abs(w_axis[0]))
    x, y, z = (origins[order[0]] + first_voxel).tolist()
    return Stack(
        order=tuple(order.tolist()),
        positions_mm=along[order],
        transpose=bool(transpose),
        flip_h=flip_h,
        flip_w=flip_w,
        pixel_mm=(h_mm, w_mm),
        direction=np.stack([normal, h_axis, w_axis], axis=1),
        origin_mm=(x, y, z),
        tilt_deg=tilt,
        wander_mm=wander,
        oblique_deg=float(np.degrees(np.arccos(np.clip(cosine, 0, 1)))),
        axial=bool(np.argmax(np.abs(normal)) == 2),
    )
