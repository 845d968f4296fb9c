"""The network's input as a grid in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darnet_trt.scan.dicom.geometry import Vector
from darnet_trt.scan.preprocessing import Preprocessing, Span
from darnet_trt.scan.series import Series

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Says where the voxels of the network's input lie, in the patient's coordinates.

    These are x to the Left, y to the Posterior, z to the Superior (PS3.3 C.7.6.2.1.1).

    Attributes:
        origin_mm: x, y, z of the centre of voxel (0, 0, 0).
        direction: 3×3 by rows; the columns are the unit vectors of the d, h and w axes.
        spacing_mm: Distance of voxel centres along d, h, w.
    """

    origin_mm: Point
    direction: tuple[Point, Point, Point]
    spacing_mm: Point

    def axis(self, number: int) -> Point:
        """Return the unit vector of an axis: 0 for d, 1 for h, 2 for w."""
        x, y, z = (row[number] for row in self.direction)
        return x, y, z

    def at(self, d: float, h: float, w: float) -> Point:
        """Return x, y, z of a voxel, in mm."""
        steps = np.array([d, h, w]) * self.spacing_mm
        x, y, z = (np.array(self.origin_mm) + np.array(self.direction) @ steps).tolist()
        return x, y, z


def grid_of(series: Series, spec: Preprocessing, span: Span) -> Grid | None:
    """Return the grid of the input that is made of a series; None where its place is not known.

    Voxel i of an axis of `out` voxels lies on pixel (i + ½)·n/out − ½ of the n that it covers, as
    `preprocessing` says.

    Args:
        series: The series, as the reader turned it.
        spec: What makes the input.
        span: First slice that the input covers, and the one after the last.
    """
    stack, spacing_mm = series.stack, series.spacing_mm
    if stack is None or spacing_mm is None:
        return None
    direction = _orthonormal(stack.direction)
    covered = np.array([span[1] - span[0], *series.matrix])
    share = covered / np.array(spec.size)
    first = np.array([span[0], 0, 0]) + (share - 1) / 2  # voxel 0, in pixels
    origin = np.array(stack.origin_mm) + direction @ (first * spacing_mm)
    x, y, z = origin.tolist()
    d_mm, h_mm, w_mm = (share * spacing_mm).tolist()
    rows = [tuple(row) for row in direction.tolist()]
    return Grid((x, y, z), (rows[0], rows[1], rows[2]), (d_mm, h_mm, w_mm))


def _orthonormal(direction: Vector) -> Vector:
    """Return the nearest three perpendicular unit vectors; headers hold them rounded.

    Nine decimals are the same on every machine, and less than a micrometre.
    """
    u, _, v = np.linalg.svd(direction)
    return np.asarray((u @ v).round(9) + 0.0)
