"""Limits for a stack of slices, whatever format it comes in: number, size, distance, direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from darnet_trt.errors import Finding

MIN_SLICES: Final = 10
"""Fewer cannot show both lungs from apex to base: 10 slices of 10 mm reach 100 mm of some 250."""
MIN_MATRIX: Final = 16
"""Rows or columns below this show no anatomy."""
MAX_MATRIX: Final = 4096
"""Rows or columns; the finest CT matrix has 2048. Compared before any pixel is read."""
MAX_STEP_MM: Final = 10.5
"""The coarsest routine chest CT has 10 mm between slices; beyond, most lung lies between them."""
MAX_TILT_DEG: Final = 1.0
"""A sheared volume: 1° moves the ends of a 300 mm chest by 5 mm, about one input depth step."""
MAX_OBLIQUE_DEG: Final = 20.0
"""A patient can lie some degrees askew; beyond this the slices are an oblique reformat."""
MAX_FIELD_MM: Final = 1000.0
"""The widest bores are 900 mm across, and reconstruct 850 mm at the most."""

MIN_FIELD_MM: Final = 50.0
"""No lungs fit into less, not even a newborn's; a wrong unit gives 0.3 mm."""


def too_few(slices: int) -> Finding | None:
    """Return the refusal where there are too few slices for a chest."""
    if slices == 1:
        return Finding("too-few-slices", "a single slice, not a volume")
    if slices < MIN_SLICES:
        return Finding(
            "too-few-slices", f"only {slices} slices; a chest needs at least {MIN_SLICES}"
        )
    return None


def too_small(rows: int, columns: int) -> Finding | None:
    """Return the refusal where slices have too few pixels."""
    if min(rows, columns) >= MIN_MATRIX:
        return None
    return Finding(
        "few-pixels", f"slices of {rows}×{columns} pixels (at least {MIN_MATRIX}×{MIN_MATRIX})"
    )


def far_apart(step_mm: float) -> Finding | None:
    """Return the refusal where slices lie too far apart."""
    if step_mm <= MAX_STEP_MM:
        return None
    return Finding(
        "far-apart",
        f"slices lie {step_mm:.3g} mm apart (at most {MAX_STEP_MM:.3g} mm): "
        "use a series with more slices",
    )


def wrong_field(matrix: tuple[int, int], pixel_mm: Sequence[float]) -> Finding | None:
    """Return the refusal where a field of view (rows, then columns) is not a chest CT's."""
    h_mm, w_mm = (count * mm for count, mm in zip(matrix, pixel_mm, strict=True))
    found = f"a field of view of {round(h_mm, 1):g}×{round(w_mm, 1):g} mm"
    if max(h_mm, w_mm) > MAX_FIELD_MM:
        text = f"{found} (at most {MAX_FIELD_MM:.0f} mm): check the pixel spacing and its unit"
        return Finding("wide-field", text)
    if min(h_mm, w_mm) < MIN_FIELD_MM:
        text = f"{found} (at least {MIN_FIELD_MM:.0f} mm): check the pixel spacing and its unit"
        return Finding("narrow-field", text)
    return None


def tilted(angle_deg: float) -> Finding | None:
    """Return the refusal where the stack is sheared, as a tilted gantry leaves it."""
    if angle_deg <= MAX_TILT_DEG:
        return None
    return Finding(
        "tilted",
        f"gantry tilted by {angle_deg:.1f}° (at most {MAX_TILT_DEG:.0f}°): "
        "use a series without tilt",
    )


def oblique(angle_deg: float) -> Finding | None:
    """Return the refusal where slices are turned too far from the patient's axes."""
    if angle_deg <= MAX_OBLIQUE_DEG:
        return None
    return Finding(
        "oblique",
        f"oblique slices: turned by {angle_deg:.0f}° from the patient's axes "
        f"(at most {MAX_OBLIQUE_DEG:.0f}°)",
    )
