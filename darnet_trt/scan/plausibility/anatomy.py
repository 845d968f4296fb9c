"""Compare how a chest lies in its grid with what its files say, or find it where they say nothing.

The limits were set on 96 phantoms of all classes and on 3 real series (two chests), each in all
48 orientations. Below, "right" gives the value nearest to the limit in grids that lie S P L, and
"wrong" that in grids with this axis reversed. Between the limits of a sign nothing is said.
`python -m benchmarks.scans.anatomy` measures them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding
from darnet_trt.scan.plausibility.chest import aerated_lung
from darnet_trt.scan.plausibility.signs import (
    Chest,
    apex_side,
    cut_faces,
    find_chest,
    heart_side,
    liver_side,
    lung_profile,
    lung_share,
    lung_sides,
    notch_side,
    spine_side,
    uneven_heights,
)

Grid = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MIN_HEIGHT_MM: Final = 100.0
"""Lungs over less height show no apex or no base."""
MIN_LUNG_SHARE: Final = 0.15
"""Of the body in the slice with most lung: chests at least 0.27, an upper abdomen 0.02."""
MAX_GAP: Final = 0.3
"""Across the gap between the lungs: at most 0.08; of a patient turned by 15°, 0.33."""
MIN_NO_GAP: Final = 0.3
EXCHANGED_NO_GAP: Final = 0.5
"""Along the other axes: at least 0.64, with both bases consolidated 0.30. To call axes exchanged
takes more, since gas of bowel leaves gaps too."""
MIN_LESSER: Final = 0.2
"""The smaller lung against the larger: at least 0.64, with fluid in the lower 60 % of one 0.25."""
MIN_FACE: Final = 0.15
"""The body's share of a slice at the scan's ends: at least 0.34."""
FACE_RATIO: Final = 1.5
"""That share against the one in front of and behind the body: 1.9 and more."""
MIN_APEX: Final = 0.25
"""Right: 0.30 and more. Wrong: −0.30 and less. Fluid, consolidated bases, cut-off ends and a narrow
field of view leave the sign; in a field that cuts off a sixth at each side it falls to 0."""
MIN_SPINE: Final = 0.3
"""Right: 0.76 and more; with contrast medium 0.60, with noise of 100 HU 0.47. Wrong: −0.76 and
less."""
MIN_NOTCH: Final = 0.08
"""Right: 0.05 and more. Wrong: −0.05 and less. It counts only where bone cannot be told from other
tissue, and only for rows as pictures have them: consolidated backs of both lungs turn its sign."""
MIN_LIVER: Final = 0.1
MIN_HEART: Final = 0.02
"""Right: liver 0.06 and more; heart 0.00 and more, but −0.05 in one real patient whose right lung
is smaller. Only both together count: 85 of 96 mirrored phantoms are found."""
MAX_UNEQUAL: Final = 0.3
MAX_UNEVEN: Final = 0.05
"""Lungs that differ more in size or height push or pull the heart to one side, and fluid at the
base looks like a liver: nothing is said about left and right. Heights of two lungs mostly differ by
at most 0.05 (0.10 with consolidation), with fluid in the lower 60 % of one by 0.23 and more."""
ONE_SIDED: Final = 0.7
"""One side has less than a sixth of the other's aerated lung. Two lungs: at most 0.22, with fluid
in the lower 60 % of one at most 0.60."""


@dataclass(frozen=True)
class Turn:
    """What puts slices and rows of a grid into the order S P.

    Attributes:
        flip_d: The slices run from head to foot.
        flip_h: The rows run from back to front.
    """

    flip_d: bool
    flip_h: bool


def judge_anatomy(hu: Grid, spacing_mm: tuple[float, float, float] | None) -> tuple[Finding, ...]:
    """Return warnings where the pixels contradict that the grid lies S P L, or show one lung.

    Args:
        hu: Slices on a coarse grid (d, h, w), about 5 mm in plane, with the whole lungs.
        spacing_mm: Of the grid along d, h, w; None where it is not known.
    """
    lung = aerated_lung(hu)
    chest = _whole_chest(hu, lung, spacing_mm)
    sides = 0.0 if chest is None else lung_sides(chest)
    if abs(sides) >= ONE_SIDED:
        return (_one_lung(sides),)
    if chest is None or not _is_axial(chest, hu):
        exchanged = _exchanged(hu, lung)
        if exchanged is not None:
            return (exchanged,)
    if chest is None or _lateral_axis(chest.lung) != 2:
        return ()
    flip_d, flip_h = apex_side(chest) <= -MIN_APEX, (spine_side(chest) or 0.0) <= -MIN_SPINE
    order = np.s_[:: -1 if flip_d else 1, :: -1 if flip_h else 1]
    chest = find_chest(hu[order], lung[order])
    flip_w = chest is not None and _is_mirrored(chest, sides)
    found = _contradiction(flip_d, flip_h, flip_w)
    return () if found is None else (found,)


def find_turn(hu: Grid, spacing_mm: tuple[float, float, float] | None) -> Turn | Finding:
    """Find head and foot, front and back of a scan whose files do not say how it lies.

    Left and right are never decided: a mirrored scan and a mirrored heart look alike.

    Args:
        hu: Slices on a coarse grid (d, h, w), about 5 mm in plane, with the whole lungs.
        spacing_mm: Of the grid along d, h, w; None where it is not known.

    Returns:
        What turns the grid to S P, or the refusal where the pixels do not tell.
    """
    lung = aerated_lung(hu)
    chest = _whole_chest(hu, lung, spacing_mm)
    if chest is None or not _is_axial(chest, hu) or abs(lung_sides(chest)) >= ONE_SIDED:
        return _exchanged(hu, lung) or _cannot_tell("two whole lungs side by side are not seen")
    apex = apex_side(chest)
    if abs(apex) < MIN_APEX:
        return _cannot_tell("the lungs are as wide at one end as at the other")
    spine = spine_side(chest)
    if spine is None and notch_side(chest) >= MIN_NOTCH:
        return Turn(apex < 0, False)
    if spine is None or abs(spine) < MIN_SPINE:
        return _cannot_tell("no spine is seen")
    return Turn(apex < 0, spine < 0)


def turned(turn: Turn) -> Finding:
    """Return the warning that says how a scan was turned, whose files do not say how it lies."""
    slices = "from head to foot" if turn.flip_d else "from foot to head"
    rows = "from back to front" if turn.flip_h else "from front to back"
    return Finding(
        "orientation-from-pixels",
        f"the files do not say how the scan lies; by lungs and spine, slices run {slices} "
        f"and rows {rows}; left and right were not checked",
    )


def _cannot_tell(why: str) -> Finding:
    return Finding(
        "orientation-unknown",
        f"the files do not say how the scan lies, and the pixels do not show it ({why}): "
        "give DICOM, or NIfTI with an orientation",
    )


def _whole_chest(
    hu: Grid, lung: Mask, spacing_mm: tuple[float, float, float] | None
) -> Chest | None:
    """Find lungs that are large and high enough to tell anything from."""
    chest = find_chest(hu, lung)
    if chest is None or lung_share(chest) < MIN_LUNG_SHARE:
        return None
    if spacing_mm is not None and len(chest.lung) * spacing_mm[0] < MIN_HEIGHT_MM:
        return None
    return chest


def _lateral_axis(lung: Mask, least: float = MIN_NO_GAP) -> int | None:
    """Return the axis across which there are two lungs; None where that is not clear.

    Args:
        lung: Where it is (d, h, w).
        least: How much lung the middle must show along both other axes.
    """
    along = [lung_profile(lung, axis) for axis in range(3)]
    axis = int(np.argmin([profile.gap for profile in along]))
    pair = along.pop(axis)
    clear = pair.gap <= MAX_GAP and min(profile.gap for profile in along) >= least
    return axis if clear and pair.lesser >= MIN_LESSER else None


def _long_axis(hu: Grid, lateral: int) -> int | None:
    """Return the axis from foot to head; None where that is not clear."""
    faces = cut_faces(hu)
    one, other = sorted((axis for axis in range(3) if axis != lateral), key=lambda a: faces[a])
    clear = faces[other] >= max(MIN_FACE, FACE_RATIO * faces[one])
    return other if clear else None


def _is_axial(chest: Chest, hu: Grid) -> bool:
    """Return whether the lungs lie side by side and the slices between foot and head."""
    return _lateral_axis(chest.lung) == 2 and _long_axis(hu, 2) == 0


def _exchanged(hu: Grid, lung: Mask) -> Finding | None:
    """Return what is wrong where the grid's axes are not those of axial slices.

    Where slices along the first axis show no two lungs, those along the others may: in coronal
    slices the trachea opens to the outside, and all air looks like outside air.
    """
    for axis in range(3):
        moved = np.moveaxis(hu, axis, 0)
        if axis:
            lung = aerated_lung(moved)
        lateral = _lateral_axis(lung, EXCHANGED_NO_GAP)
        if lateral is not None and _whole_chest(moved, lung, None) is not None:
            order = [axis, *(other for other in range(3) if other != axis)]
            long = _long_axis(moved, lateral)
            return _name_axes(order[lateral], None if long is None else order[long])
    return None


def _name_axes(lateral: int, long: int | None) -> Finding | None:
    """Name how slices lie whose axes are not axial; `long` runs from foot to head."""
    if lateral == 0:
        how = "slices lie side by side (sagittal)"
    elif long in (1, 2):
        how = "slices lie one behind the other (coronal)"
    elif lateral == 1:
        how = "the lungs lie one above the other in the slices"
    else:
        return None
    return Finding("axes-exchanged", f"the axes are not those of axial slices: {how}")


def _is_mirrored(chest: Chest, sides: float) -> bool:
    return (
        abs(sides) <= MAX_UNEQUAL
        and uneven_heights(chest) <= MAX_UNEVEN
        and liver_side(chest) <= -MIN_LIVER
        and heart_side(chest) <= -MIN_HEART
    )


def _one_lung(sides: float) -> Finding:
    side, share = ("left" if sides > 0 else "right"), (1 + abs(sides)) / 2
    return Finding("one-lung", f"{share:.0%} of the aerated lung lies on the {side}")


def _contradiction(flip_d: bool, flip_h: bool, flip_w: bool) -> Finding | None:
    """Name what is reversed against the header, and what was seen of it."""
    signs = {
        "the lungs narrow towards the feet": flip_d,
        "the spine lies in front": flip_h,
        "heart and liver lie on each other's side": flip_w,
    }
    seen = ", ".join(sign for sign, shown in signs.items() if shown)
    match flip_d, flip_h, flip_w:
        case True, False, False:
            return Finding("upside-down", f"head and foot are swapped: {seen}")
        case False, True, False:
            return Finding("back-to-front", f"front and back are swapped: {seen}")
        case False, False, True:
            return Finding("mirrored", f"mirrored, or situs inversus: {seen}")
        case True, True, True:
            return Finding("all-reversed", f"all three axes are reversed: {seen}")
        case False, False, False:
            return None
    return Finding("turned-round", f"turned by 180° against the header: {seen}")
