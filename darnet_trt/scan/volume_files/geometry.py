"""Judge how the axes of a volume file lie: perpendicular, three different ones, none made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.plausibility.grid import MAX_TILT_DEG, oblique, tilted
from darnet_trt.scan.volume_files.header import ImageHeader, Matrix, nearest
from darnet_trt.scan.volume_files.text_header import broken_header

ROUNDED: Final = 0.01
"""Writers round: lengths that differ by less than this share are the same."""
ROUNDED_DEG: Final = MAX_TILT_DEG
"""Axes this far from perpendicular are rounded, or tilted so little that it does not matter: they
are replaced by the nearest perpendicular ones. Rounding by 1e-4 of a voxel (150 subjects of
TotalSegmentator) turns axes by 0.01°."""
LARGEST_MM: Final = 1e6
"""A voxel size or a position beyond this is a mistake."""
SMALLEST_MM: Final = 1e-6
LEAST_SQUARE: Final = 64
"""Two axes of one length, this or more, are a slice's rows and columns."""
UNIT_MM: Final = {
    "": 1.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "cm": 10.0, "m": 1000.0,
    "um": 0.001, "µm": 0.001, "μm": 0.001, "micron": 0.001, "microns": 0.001,
}  # fmt: skip
"""Units of length that headers name."""


def check_lengths(path: Path, header: ImageHeader) -> None:
    """Check that the voxels of a volume have a size and a place.

    Raises:
        UnreadableScanError: They have none.
    """
    lengths = (*header.steps_mm.flat, *header.origin_mm)
    if not all(abs(mm) <= LARGEST_MM for mm in lengths):  # nor NaN
        raise broken_header(path, f"its geometry is not a number, or beyond {LARGEST_MM:g} mm")
    if header.spacing_mm.min() < SMALLEST_MM:
        raise broken_header(path, "voxels of size 0")


def judge_axes(header: ImageHeader) -> Finding | None:
    """Return the refusal where the axes of a volume cannot be those of upright slices."""
    steps = header.steps_mm
    if len(set(nearest(steps))) < 3:
        return Finding("axes-not-distinct", "two of its axes point the same way")
    if _is_placeholder(header):
        return Finding(
            "placeholder-geometry",
            "voxels of 1×1×1 mm along the patient's axes at the origin: nobody entered the "
            "scan's geometry; write it again with the scanner's affine and voxel sizes",
        )
    x, y, z = (steps / header.spacing_mm)[:, header.axes].T
    normal = np.cross(x, y)
    normal /= np.linalg.norm(normal)
    skew_deg = float(np.degrees(np.arcsin(np.clip(abs(x @ y), 0, 1))))
    return (
        tilted(_angle_deg(normal, z))
        or _sheared(skew_deg)
        or oblique(max(_angle_deg(axis, np.eye(3)[i]) for i, axis in enumerate((x, y, z))))
        or _exchanged(header)
    )


def perpendicular(direction: Matrix) -> Matrix:
    """Return the nearest perpendicular unit vectors; the columns may be off by rounding."""
    left, _, right = np.linalg.svd(direction)
    return np.asarray(left @ right)


def voxel_sizes_differ(
    name: str, sizes: Sequence[float], taken: str, spacing: Sequence[float] | Matrix
) -> Finding | None:
    """Return the warning where two entries give the voxels different sizes.

    Args:
        name: The entry that is not used.
        sizes: What it says.
        taken: The entry that is used.
        spacing: What it says, in the same unit.
    """
    if np.allclose(sizes, spacing, rtol=ROUNDED, atol=0):
        return None
    said, used = ("×".join(f"{mm:.3g}" for mm in lengths[:3]) for lengths in (sizes, spacing))
    return Finding(
        "voxel-sizes-differ",
        f"{name} says {said}, {taken} says {used}: {taken} was taken",
    )


def _is_placeholder(header: ImageHeader) -> bool:
    """Return whether the geometry is what libraries write when nobody gives them one.

    `nibabel.Nifti1Image(array, numpy.eye(4))` and `SimpleITK.GetImageFromArray(array)` do. Arrays
    of the first kind often have the order z y x.
    """
    at_origin = not header.oriented or not any(header.origin_mm)
    unit = np.eye(3)[:, nearest(header.steps_mm)]
    return at_origin and np.allclose(np.abs(header.steps_mm), unit, rtol=0, atol=1e-6)


def is_default(header: ImageHeader) -> bool:
    """Return whether an orientation is what libraries write for voxel sizes alone.

    `nibabel.Nifti1Image(array, numpy.diag([...]))` and an array of SimpleITK do; a scanner's
    coordinates do not begin at the first voxel.
    """
    axial = np.count_nonzero(header.steps_mm) == 3
    return header.oriented and not any(header.origin_mm) and axial


def _sheared(skew_deg: float) -> Finding | None:
    if skew_deg <= ROUNDED_DEG:
        return None
    return Finding(
        "sheared",
        f"rows and columns are {skew_deg:.1f}° from perpendicular (at most {ROUNDED_DEG:.0f}°)",
    )


def _exchanged(header: ImageHeader) -> Finding | None:
    """Return the refusal where sizes say that the slices lie along another axis than the header.

    A slice has as many rows as columns, at one spacing. An array z y x under an affine for x y z
    has two axes of one length, at different spacings, and two of one spacing, at different lengths.
    """
    w, h, d = (header.size[axis] for axis in header.axes)
    w_mm, h_mm, d_mm = header.spacing_mm[list(header.axes)].tolist()
    if w == h or d not in (w, h) or d < LEAST_SQUARE:
        return None
    if not np.isclose(w_mm, h_mm, rtol=ROUNDED) or np.isclose(d_mm, w_mm, rtol=ROUNDED):
        return None
    return Finding(
        "axes-exchanged",
        f"slices of {h}×{w} pixels, {d} of them: the square slices lie along another axis than "
        "the header says; write the array again with its axes in the order x y z",
    )


def _angle_deg(one: Matrix, other: Matrix) -> float:
    """Return the angle between two lines along unit vectors."""
    return float(np.degrees(np.arccos(np.clip(abs(one @ other), 0, 1))))
