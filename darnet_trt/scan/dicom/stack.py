"""The verdict on a stack of slices: their number, spacing, gaps, tilt and direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from darnet_trt.scan.dicom.geometry import Stack, Vector
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.series import Verdict

__all__ = [
    "DUPLICATE_MM",
    "MAX_OBLIQUE_DEG",
    "MAX_STEP_MM",
    "MIN_MATRIX",
    "MIN_SLICES",
    "RESCALE",
    "SPACING_TOLERANCE",
    "judge_stack",
    "too_wide",
]

DUPLICATE_MM: Final = 0.02
"""Slices closer than this lie at one position; the thinnest CT slices are 0.2 mm apart."""
SPACING_TOLERANCE: Final = 0.1
"""Steps within a tenth of the typical one are even enough: the network samples 64 depths, so a
tenth of a slice is below what it sees. Positions are also rounded by some writers."""
SPACING_REMARK: Final = 0.02
"""Beyond this uneven steps are worth a warning."""
MIN_SLICES: Final = 10
"""Fewer cannot show both lungs from apex to base: 10 slices of 10 mm reach 100 mm of some 250."""
MIN_MATRIX: Final = 16
"""Rows or columns below this show no anatomy."""
MAX_STEP_MM: Final = 10.5
"""The coarsest routine chest CT has 10 mm between slices; beyond, most lung lies between them."""
SPARSE: Final = 0.5
"""Slices thinner than this share of their distance skip most of the lung (interspaced HRCT)."""
MAX_TILT_DEG: Final = 1.0
"""A sheared volume: 1° moves the ends of a 300 mm chest by 5 mm, about one input depth step."""
MAX_OBLIQUE_DEG: Final = 20.0
"""A patient can lie some degrees askew; beyond this the slices are an oblique reformat."""
OBLIQUE_REMARK_DEG: Final = 5.0
MAX_WANDER_MM: Final = 5.0
"""Slices whose origins jump sideways do not stack into a volume."""
MIN_FIELD_MM: Final = 220.0
"""A field of view below this cuts an adult's lungs off at the sides."""
MAX_FIELD_MM: Final = 1000.0
"""The widest bores are 900 mm across, and reconstruct 850 mm at the most."""
RESCALE: Final = ("RescaleSlope", "RescaleIntercept")
"""Where they differ the same stored pixels are other Hounsfield units."""


def judge_stack(
    stack: Stack, headers: Sequence[Header], notes: Sequence[str]
) -> tuple[Verdict, float | None]:
    """Judge slices in their order.

    Args:
        stack: Their geometry.
        headers: Theirs, in the stack's order.
        notes: What is known to be unusual so far; they become warnings.

    Returns:
        The verdict, and the distance of neighbouring slices in mm (None for a single one).
    """
    count, first = len(headers), headers[0]
    if count == 1:
        return Verdict(False, "a single slice, not a volume", tuple(notes)), None
    steps = np.diff(stack.positions_mm)
    step = float(np.median(steps))
    refusals = [*_direction(stack), *_spacing(steps, step, headers)]
    if wide := too_wide((first.get("Rows"), first.get("Columns")), first.get("PixelSpacing")):
        refusals.append(wide)
    if count < MIN_SLICES:
        refusals.append(f"{count} slices are too few for a chest (at least {MIN_SLICES})")
    elif step > MAX_STEP_MM:
        refusals.append(f"slices lie {step:.3g} mm apart (at most {MAX_STEP_MM:.3g} mm)")
    mixed = _thicknesses(headers)  # of a refused series most likely the cause
    if refusals:
        return Verdict(False, "; ".join([*refusals, *mixed]), tuple(notes)), step or None

    warnings = (*notes, *mixed, *_remarks(stack, headers, steps, step))
    # The mean step is the better one where positions are rounded.
    mean_step = float((stack.positions_mm[-1] - stack.positions_mm[0]) / (count - 1))
    return Verdict(True, f"{count} axial slices, {count * step:.0f} mm", warnings), mean_step


def too_wide(matrix: tuple[int, int], pixel_mm: Sequence[float]) -> str | None:
    """Why a field of view cannot be a CT's, or None; rows first, then columns."""
    h_mm, w_mm = (count * mm for count, mm in zip(matrix, pixel_mm, strict=True))
    if max(h_mm, w_mm) <= MAX_FIELD_MM:
        return None
    return (
        f"a field of view of {h_mm:.4g}×{w_mm:.4g} mm is not plausible "
        f"(at most {MAX_FIELD_MM:.0f} mm): is the pixel spacing right?"
    )


def _direction(stack: Stack) -> list[str]:
    if not stack.axial:
        return ["slices are not axial (coronal or sagittal)"]
    if stack.tilt_deg > MAX_TILT_DEG:
        return [f"gantry tilted by {stack.tilt_deg:.1f}°"]
    if stack.oblique_deg > MAX_OBLIQUE_DEG:
        return [f"slices lie oblique to the patient's axes by {stack.oblique_deg:.0f}°"]
    if stack.wander_mm > MAX_WANDER_MM:
        return [f"slices are shifted sideways against each other by {stack.wander_mm:.0f} mm"]
    return []


def _spacing(steps: Vector, step: float, headers: Sequence[Header]) -> list[str]:
    doubled = np.flatnonzero(steps <= DUPLICATE_MM)
    if len(doubled):
        scales = [tuple(header.get(keyword) for keyword in RESCALE) for header in headers]
        differ = any(scales[i] != scales[i + 1] for i in doubled)
        by = f", that differ in {' or '.join(RESCALE)}" if differ else ""
        return [f"{len(doubled)} positions hold more than one image{by}"]
    missing = np.rint(steps / step) - 1
    whole = np.abs(steps / step - np.rint(steps / step)) <= SPACING_TOLERANCE
    if whole.all() and missing.any():
        widest = int(np.argmax(steps))
        total, gaps = int(missing.sum()), int((missing > 0).sum())
        noun = "slice is" if total == 1 else "slices are"
        z_mm = [header.get("ImagePositionPatient")[2] for header in headers]
        places = f" in {gaps} places, the widest" if gaps > 1 else ""
        return [
            f"{total} {noun} missing{places}: {steps[widest]:.3g} mm between z = "
            f"{z_mm[widest]:.1f} and {z_mm[widest + 1]:.1f} mm where the others lie {step:.3g} mm "
            "apart (copy or export the series again)"
        ]
    if np.abs(steps - step).max() > SPACING_TOLERANCE * step:
        return [f"slices are unevenly spaced ({steps.min():.3g} to {steps.max():.3g} mm)"]
    return []


def _thicknesses(headers: Sequence[Header]) -> list[str]:
    found = sorted({h.get("SliceThickness") for h in headers if h.get("SliceThickness")})
    if len(found) < 2:
        return []
    listed = ", ".join(f"{thickness:g}" for thickness in found)
    return [f"{len(found)} slice thicknesses in one series ({listed} mm)"]


def _remarks(stack: Stack, headers: Sequence[Header], steps: Vector, step: float) -> list[str]:
    """What is unusual in a usable stack."""
    first, remarks = headers[0], []
    if np.abs(steps - step).max() > SPACING_REMARK * step:
        remarks.append(f"slightly uneven spacing ({steps.min():.3g} to {steps.max():.3g} mm)")
    if stack.oblique_deg > OBLIQUE_REMARK_DEG:
        remarks.append(f"slices lie oblique to the patient's axes by {stack.oblique_deg:.0f}°")
    thickness = first.get("SliceThickness")
    if thickness is not None and 0 < thickness < SPARSE * step:
        remarks.append(f"slices of {thickness:g} mm every {step:.3g} mm: lung between is not seen")
    rows, columns = first.get("Rows"), first.get("Columns")
    field = min(rows, columns) * min(stack.pixel_mm)
    if field < MIN_FIELD_MM:
        remarks.append(f"the field of view of {field:.0f} mm may cut the lungs off at the sides")
    if any(h.get("PhotometricInterpretation") == "MONOCHROME1" for h in headers):
        remarks.append("MONOCHROME1: stored values were taken as they are, as the standard says")
    kinds = {str(h.get("RescaleType")) for h in headers if h.get("RescaleType")} - {"HU"}
    if kinds:
        remarks.append(f"RescaleType is {', '.join(sorted(kinds))}, not HU")
    if any(h.get("LossyImageCompression") == "01" for h in headers):
        remarks.append("the images were compressed with loss")
    return remarks
