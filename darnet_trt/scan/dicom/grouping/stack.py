"""The verdict on a stack of slices: their number, spacing, gaps, tilt and direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.geometry import Stack, Vector
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.plausibility.grid import far_apart, oblique, tilted, too_few, wrong_field
from darnet_trt.scan.series import Verdict

DUPLICATE_MM: Final = 0.02
"""Slices closer than this lie at one position; the thinnest CT slices are 0.2 mm apart."""
SPACING_TOLERANCE: Final = 0.1
"""Steps within a tenth of the typical one are even enough: the network samples 64 depths, so a
tenth of a slice is below what it sees. Positions are also rounded by some writers."""
SPACING_REMARK: Final = 0.02
"""Steps that differ by more than this share are worth a warning."""
SPARSE: Final = 0.5
"""Slices thinner than this share of their distance skip most of the lung (interspaced HRCT)."""
OBLIQUE_REMARK_DEG: Final = 5.0
MAX_WANDER_MM: Final = 5.0
"""Slices whose origins jump sideways do not stack into a volume."""
MIN_FIELD_MM: Final = 220.0
"""A field of view below this cuts an adult's lungs off at the sides."""
CAUSES: Final = frozenset({"shared-series-uid", "joined-by-position", "left-out"})
"""Notes that most likely say why slices do not form a stack; "left-out" says nothing else."""
RESCALE: Final = ("RescaleSlope", "RescaleIntercept")
"""Equal stored pixels of slices that differ in these mean different Hounsfield units."""


def judge_stack(
    stack: Stack, headers: Sequence[Header], notes: Sequence[Finding]
) -> tuple[Verdict, float | None]:
    """Judge whether a stack of slices can be classified.

    Args:
        stack: The slices' geometry.
        headers: The slices' headers, in the stack's order.
        notes: What is known to be unusual so far; becomes warnings.

    Returns:
        The verdict, and the distance of neighbouring slices in mm (None for a single one).
    """
    count, first = len(headers), headers[0]
    causes = [note for note in notes if note.code in CAUSES]
    notes = tuple(note for note in notes if note.code != "left-out")
    few = too_few(count)
    if few and count == 1:
        return Verdict(False, _because([few], causes), notes), None
    steps = np.diff(stack.positions_mm)
    step = float(np.median(steps))
    wide = wrong_field((first.get("Rows"), first.get("Columns")), first.get("PixelSpacing"))
    found = (_direction(stack), _spacing(steps, step, headers), wide, few or far_apart(step))
    refusals = [reason for reason in found if reason]
    mixed = _thicknesses(headers)
    if refusals:
        return Verdict(False, _because(refusals, mixed + causes), notes), step or None

    warnings = (*notes, *mixed, *_remarks(stack, headers, steps, step))
    # Where positions are rounded the mean step is more exact than the median.
    mean_step = float((stack.positions_mm[-1] - stack.positions_mm[0]) / (count - 1))
    reason = Finding("usable", f"{count} axial slices, {count * step:.0f} mm")
    return Verdict(True, reason, warnings), mean_step


def _because(refusals: Sequence[Finding], causes: Sequence[Finding]) -> Finding:
    return Finding(refusals[0].code, "; ".join([*refusals, *causes]))


def _direction(stack: Stack) -> Finding | None:
    if not stack.axial:
        return Finding("not-axial", "coronal or sagittal slices, not axial ones")
    if reason := tilted(stack.tilt_deg) or oblique(stack.oblique_deg):
        return reason
    if stack.wander_mm > MAX_WANDER_MM:
        return Finding(
            "shifted-sideways",
            f"slices are shifted sideways by {stack.wander_mm:.0f} mm "
            f"(at most {MAX_WANDER_MM:.0f} mm)",
        )
    return None


def _spacing(steps: Vector, step: float, headers: Sequence[Header]) -> Finding | None:
    doubled = np.flatnonzero(steps <= DUPLICATE_MM)
    if len(doubled) == len(steps):
        return Finding(
            "one-position",
            f"all {len(headers)} images lie at one position (ImagePositionPatient): "
            "export the series again",
        )
    if len(doubled):
        scales = [tuple(header.get(keyword) for keyword in RESCALE) for header in headers]
        differ = any(scales[i] != scales[i + 1] for i in doubled)
        what = "position holds" if len(doubled) == 1 else "positions hold"
        by = f", which differ in {' or '.join(RESCALE)}" if differ else ""
        text = f"{len(doubled)} {what} more than one image{by}: export one series alone"
        return Finding("several-images", text)
    missing = np.rint(steps / step) - 1
    whole = np.abs(steps / step - np.rint(steps / step)) <= SPACING_TOLERANCE
    if whole.all() and missing.any():
        widest = int(np.argmax(steps))
        total, gaps = int(missing.sum()), int((missing > 0).sum())
        what = "slice is missing" if total == 1 else "slices are missing"
        z_mm = [header.get("ImagePositionPatient")[2] for header in headers]
        places = f" in {gaps} places, the widest" if gaps > 1 else ""
        return Finding(
            "missing-slices",
            f"{total} {what}{places}: {steps[widest]:.3g} mm between z = "
            f"{z_mm[widest]:.1f} and {z_mm[widest + 1]:.1f} mm where the others lie {step:.3g} mm "
            "apart (copy or export the series again)",
        )
    if np.abs(steps - step).max() > SPACING_TOLERANCE * step:
        text = f"slices are unevenly spaced ({steps.min():.3g} to {steps.max():.3g} mm)"
        return Finding("uneven-spacing", text)
    return None


def _thicknesses(headers: Sequence[Header]) -> list[Finding]:
    found = sorted({h.get("SliceThickness") for h in headers if h.get("SliceThickness")})
    if len(found) < 2:
        return []
    listed = ", ".join(f"{thickness:g}" for thickness in found)
    text = f"{len(found)} slice thicknesses in one series ({listed} mm)"
    return [Finding("mixed-thickness", text)]


def _remarks(stack: Stack, headers: Sequence[Header], steps: Vector, step: float) -> list[Finding]:
    """Return what is unusual in a usable stack."""
    first, remarks = headers[0], []
    if np.abs(steps - step).max() > SPACING_REMARK * step:
        text = f"slightly uneven spacing ({steps.min():.3g} to {steps.max():.3g} mm)"
        remarks.append(Finding("slightly-uneven", text))
    if stack.oblique_deg > OBLIQUE_REMARK_DEG:
        text = f"slices turned by {stack.oblique_deg:.0f}° from the patient's axes"
        remarks.append(Finding("askew", text))
    thickness = first.get("SliceThickness")
    if thickness is not None and 0 < thickness < SPARSE * step:
        text = (
            f"slices {thickness:g} mm thick and {step:.3g} mm apart: "
            "the lung between them was not scanned"
        )
        remarks.append(Finding("interspaced", text))
    rows, columns = first.get("Rows"), first.get("Columns")
    field = min(rows, columns) * min(stack.pixel_mm)
    if field < MIN_FIELD_MM:
        text = f"a field of view of {field:.0f} mm may cut off the lungs at the sides"
        remarks.append(Finding("narrow-field", text))
    if any(h.get("PhotometricInterpretation") == "MONOCHROME1" for h in headers):
        text = "MONOCHROME1 inverts the display only: the values were read as stored"
        remarks.append(Finding("monochrome1", text))
    if any(h.get("LossyImageCompression") == "01" for h in headers):
        remarks.append(Finding("lossy", "the images went through lossy compression"))
    return [*remarks, *_contradictions(stack, headers)]


def _contradictions(stack: Stack, headers: Sequence[Header]) -> list[Finding]:
    """Return what other attributes say against ImagePositionPatient."""
    found = []
    for keyword in ("SliceLocation", "InstanceNumber"):
        values = _numbers(headers, keyword)
        if len(set(values)) < len(headers):  # copied from slice to slice, or absent
            continue
        steps = np.diff(values)
        if (steps > 0).any() and (steps < 0).any():
            text = f"{keyword} runs in another order than ImagePositionPatient, which was followed"
            found.append(Finding("contradicting-order", text))
        elif keyword == "SliceLocation":
            apart, step = (
                float(np.median(np.abs(steps))),
                float(np.median(np.diff(stack.positions_mm))),
            )
            if abs(apart - step) > SPACING_TOLERANCE * step:
                text = (
                    f"SliceLocation puts slices {apart:.3g} mm apart and ImagePositionPatient, "
                    f"which was followed, {step:.3g} mm"
                )
                found.append(Finding("contradicting-spacing", text))
    return found


def _numbers(headers: Sequence[Header], keyword: str) -> list[float]:
    """Return a numeric attribute of each slice; nothing where one has none."""
    try:
        return [float(header.get(keyword)) for header in headers]
    except (TypeError, ValueError):
        return []
