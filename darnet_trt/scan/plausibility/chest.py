"""Check from the pixels that a scan shows a chest.

A network of three classes gives one of them to anything: a leg, an abdomen, a water phantom.
So aerated lung is measured on a coarse grid. Air and lung inside the body lie below `LUNG_HU[1]`
and are not connected to the slice's border; gas of bowel, stomach and large airways lies below
`LUNG_HU[0]` and does not count.

The limits are a judgement, not a calibration on patients. The whole chests they were set on show
2.6 to 4.5 litres of aerated lung, an upper abdomen and a head 0.04 litres each. The refusal lies
far below the chests because severe consolidation leaves little aerated lung; a chest with less
than `MIN_LUNG_L` is refused all the same. Between the limits there is a warning.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding

Grid = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

LUNG_HU: Final = (-970.0, -400.0)
"""Aerated lung lies within; gas of bowel and trachea at about −1000, tissue above."""
MIN_LUNG_L: Final = 0.3
"""Litres. A scan with less shows no chest to classify."""
LOW_LUNG_L: Final = 1.2
"""With less, an adult's lungs are cut off, collapsed or largely consolidated: worth a look."""
LUNG_SLICE_MM2: Final = 1500.0
"""A slice with this area of aerated lung (4 cm squared) shows lung."""
MAX_LUNG_L: Final = 12.0
"""The largest lungs hold 10 litres; more means a wrong spacing."""
MIN_LUNG_EXTENT_MM: Final = 80.0
"""An adult's lungs are 200 to 300 mm high; less than this is not a whole chest."""
LOW_LUNG_EXTENT_MM: Final = 150.0
CUT_OFF: Final = 0.5
"""The scan cuts off the lungs where its first or last slice shows this share of the largest
slice's lung."""
MIN_LUNG_SHARE: Final = 0.01
"""Where the spacing is unknown, a scan with a smaller share of aerated pixels shows no chest. The
lungs take 10 to 20 % of a chest scan's field of view."""


def judge_chest(
    hu: Grid, spacing_mm: tuple[float, float, float] | None
) -> tuple[Finding | None, tuple[Finding, ...]]:
    """Return why this is not a chest, or None, and the warnings.

    Args:
        hu: The decoded slices on a coarse grid (d, h, w), oriented S P L.
        spacing_mm: Of the grid along d, h, w; None where it is not known.
    """
    lung = aerated_lung(hu)
    if spacing_mm is None:
        if lung.mean() >= MIN_LUNG_SHARE:
            return None, ()
        return Finding(
            "not-a-chest",
            f"not a chest: {lung.mean():.1%} of the pixels are aerated lung "
            f"(at least {MIN_LUNG_SHARE:.0%}): give a chest scan, in a window for the lung",
        ), ()
    d_mm, h_mm, w_mm = spacing_mm
    per_slice = lung.sum((1, 2))
    litres = float(per_slice.sum()) * d_mm * h_mm * w_mm / 1e6
    shows = np.flatnonzero(per_slice * h_mm * w_mm >= LUNG_SLICE_MM2)
    extent_mm = float(shows[-1] - shows[0] + 1) * d_mm if len(shows) else 0.0
    found = (
        f"{litres:.2f} litres of aerated lung over {extent_mm:.0f} mm "
        f"in a scan of {len(hu) * d_mm:.0f} mm"
    )
    if litres < MIN_LUNG_L:
        return Finding("not-a-chest", f"not a chest: {found} (at least {MIN_LUNG_L} litres)"), ()
    if litres > MAX_LUNG_L:
        return Finding(
            "too-much-lung", f"{found} (at most {MAX_LUNG_L:.0f} litres): check the voxel spacing"
        ), ()
    if extent_mm < MIN_LUNG_EXTENT_MM:
        return Finding(
            "not-a-whole-chest",
            f"not a whole chest: {found} (at least {MIN_LUNG_EXTENT_MM:.0f} mm)",
        ), ()
    warnings = []
    if litres < LOW_LUNG_L or extent_mm < LOW_LUNG_EXTENT_MM:
        warnings.append(Finding("little-lung", f"little lung: {found}"))
    ends = {"top": per_slice[-1], "bottom": per_slice[0]}
    if cut := [name for name, voxels in ends.items() if voxels > CUT_OFF * per_slice.max()]:
        text = f"the scan cuts off the lungs at the {' and '.join(cut)}"
        warnings.append(Finding("lungs-cut-off", text))
    return None, tuple(warnings)


def aerated_lung(hu: Grid) -> Mask:
    """Mark aerated lung on a coarse grid (d, h, w), slice by slice."""
    air = hu < LUNG_HU[1]
    return np.asarray(air & ~_outside(air) & (hu > LUNG_HU[0]))


def _outside(air: Mask) -> Mask:
    """Find air that is connected to the front or back of its slice, within the slice.

    Not to its sides: a narrow field of view cuts through the lungs there.
    """
    reached = np.zeros_like(air)
    reached[:, [0, -1]] = air[:, [0, -1]]
    before = -1
    while (count := int(np.count_nonzero(reached))) != before:
        before = count
        for axis in (1, 2):
            _spread(np.moveaxis(air, axis, 0), np.moveaxis(reached, axis, 0))
    return reached


def _spread(air: Mask, reached: Mask) -> None:
    """Spread what is reached along the first axis through air, forth and back, in place."""
    for a, r in ((air, reached), (air[::-1], reached[::-1])):
        for place in range(1, len(a)):
            r[place] |= a[place] & r[place - 1]
