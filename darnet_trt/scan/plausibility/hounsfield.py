"""Check that decoded values are Hounsfield units of a body, slice by slice and over the scan.

A slice whose bytes were lost or mixed up still decodes, and a wrong rescale still gives numbers:
the network would classify both. The checks run on the coarse grid of decoded slices that the
search for lungs needs anyway.

Values that no body shows are refused. Metal widens what is possible: a 12-bit scan saturates at
3071 HU, an extended scale ends at 16 000 to 32 767, and dark streaks lie far below air. But metal
and the densest bone together fill a few hundredths of a slice. Padding can be any number below
air.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding, RefusedScanError
from darnet_trt.scan.plausibility.chest import LUNG_HU

Grid = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

PLAUSIBLE_HU: Final = (-33000.0, 33000.0)
"""Padding at −32768 and saturated metal at 32767 occur; values beyond are not Hounsfield units."""
AIR_HU: Final = -400.0
"""Air and aerated lung lie below."""
SOFT_TISSUE_HU: Final = (-250.0, 250.0)
MIN_SHARE: Final = 0.01
"""Every scan of a body shows at least this share of air, and of soft tissue."""
CLEAR_SHARE: Final = 0.1
"""A slice with this share shows it clearly: a tenth of a slice does not vanish in the next one."""
DENSE_HU: Final = 1500.0
"""Above it lie only metal and the densest bone."""
DENSE_SHARE: Final = 0.03
"""Two shoulder prostheses with their streaks; more is worth a look."""
MAX_DENSE_SHARE: Final = 0.1
"""A square of 110 mm in a field of 350 mm: no implant is so large. Random bits reach 0.38."""
MAX_EMPTY_ENDS: Final = 0.25
"""Resampling pads volumes with empty slices; a scan with more of them is incomplete."""

FILL_HU: Final = 6.0
"""Values this close to the most frequent one count as the same: one grey of a picture."""
MIN_FILL_SHARE: Final = 0.4
"""Where the lungs were cut out, one value fills at least this share: 0.76 to 0.91 of 48 phantoms.
Air outside a body can fill as much where it is clipped."""
CUT_TISSUE_SHARE: Final = 0.38
"""Of what is left of cut-out lungs, at most this share is soft tissue: up to 0.30 of 48 phantoms,
consolidated ones and masks that reach 4 mm too far included. Of whole slices whose air has one
value it is 0.47 to 0.76 (96 phantoms), 0.59 to 0.73 (4 real series)."""
FILLED_CORNERS: Final = 0.75
"""Of the slices' corners, this share has one value where the outside was filled: noise gives air
many values, and so does a body that reaches into the corners."""
FILLED_SHARE: Final = 0.05
"""Turning a scan by 5° leaves 8 % to fill, a round field of view 21 %."""
END_SPAN: Final = 1 / 16
MASK_SHARE: Final = 0.9
"""In a mask this share lies at the two ends of the grey scale, JPEG's ringing included. In slices
lung and fat lie between: at least a tenth."""
MIN_SPAN_HU: Final = 200.0
"""Pictures whose greys span less are labels 0, 1, 2, …"""

BODY_HU: Final = (-300.0, DENSE_HU)
TYPICAL_BODY_HU: Final = (-125.0, 125.0)
"""Expected median of a body: between fat (−110) and muscle with contrast medium (60)."""
POSSIBLE_BODY_HU: Final = (-200.0, 200.0)
THIN_HU: Final = (-1300.0, -600.0)
"""Air and aerated lung; values of −1500 and below are padding."""
LOWEST_AIR_HU: Final = -1060.0
"""Air is −1000 by definition and −1024 where it is clipped."""


def refuse_not_numbers(values: npt.NDArray[Any], where: Path) -> None:
    """Refuse values that are NaN or infinite.

    Raises:
        RefusedScanError: Some are.
    """
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise RefusedScanError(
            Finding(
                "not-numbers",
                f"has {bad} of {values.size} values that are not numbers (NaN or infinite)",
            ),
            where=where,
            do="fill them with air (-1024 HU) if they lie outside the body",
        )


def judge_values(
    hu: Grid, names: Sequence[str], calibrated: bool
) -> tuple[Finding | None, tuple[Finding, ...]]:
    """Return why these cannot be Hounsfield units of a body, or None, and the warnings.

    Args:
        hu: The decoded slices on a coarse grid (d, h, w), foot to head.
        names: What to call each slice.
        calibrated: Whether they were read as Hounsfield units, not as grey values of pictures.
    """
    low, high = hu.min((1, 2)), hu.max((1, 2))
    ends = f"values from {low.min():g} to {high.max():g}"
    if low.min() == high.max():
        return Finding("one-value", f"all voxels have the same value ({low.min():g})"), ()
    wild = (low < PLAUSIBLE_HU[0]) | (high > PLAUSIBLE_HU[1])
    if wild.any():
        return Finding(
            "impossible-values", f"{ends} cannot be Hounsfield units ({_which(wild, names)})"
        ), ()
    if (cut := _cut_out(hu, calibrated)) is not None:
        return cut, ()
    if not calibrated and _is_mask(hu):
        return Finding("mask", "masks, not CT slices: they have only a few values"), ()
    dense = (hu > DENSE_HU).mean((1, 2))
    if (dense > MAX_DENSE_SHARE).any():
        return Finding(
            "dense-slices",
            f"up to {dense.max():.0%} of a slice lies above {DENSE_HU:.0f} HU, where no body has "
            f"more than {MAX_DENSE_SHARE:.0%} ({_which(dense > MAX_DENSE_SHARE, names)})",
        ), ()
    air = (hu < AIR_HU).mean((1, 2))
    tissue = ((hu > SOFT_TISSUE_HU[0]) & (hu < SOFT_TISSUE_HU[1])).mean((1, 2))
    for share, what in ((air, "air"), (tissue, "soft tissue")):
        if share.mean() < MIN_SHARE:
            found = f"{share.mean():.1%} of them {what} (at least {MIN_SHARE:.0%})"
            text = f"not Hounsfield units of a body: {ends}, {found}: give the original scan"
            return Finding("not-hounsfield", text), ()
    if (filled := _filled(hu)) is not None:
        return filled, ()
    wrong, warnings = _judge_neighbours(low == high, air, tissue, names)
    if wrong is None and calibrated:
        wrong, more = _judge_scale(hu)
        warnings += more
    if (dense > DENSE_SHARE).any():
        warnings.append(
            Finding(
                "much-metal",
                f"much metal, or damaged slices: up to {dense.max():.0%} of a slice lies above "
                f"{DENSE_HU:.0f} HU ({_which(dense > DENSE_SHARE, names)})",
            )
        )
    return (wrong, ()) if wrong else (None, tuple(warnings))


def _is_mask(hu: Grid) -> bool:
    """Return whether pictures show two values, also smoothed or as JPEG, or labels near black."""
    low, high = float(hu.min()), float(hu.max())
    if high - low <= MIN_SPAN_HU:
        return True
    near = (high - low) * END_SPAN
    ends = float((hu <= low + near).mean()), float((hu >= high - near).mean())
    return sum(ends) >= MASK_SHARE and min(ends) >= MIN_SHARE


def _filled(hu: Grid) -> Finding | None:
    """Return the refusal where what lies outside the body has one value that is not air's."""
    corners = np.rint(hu[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    values, counts = np.unique(corners, return_counts=True)
    fill = float(values[counts.argmax()])
    share = float((np.abs(hu - fill) <= FILL_HU).mean())
    if fill <= AIR_HU or counts.max() < FILLED_CORNERS * corners.size or share < FILLED_SHARE:
        return None
    return Finding(
        "filled-outside",
        f"{share:.0%} of the pixels, those in the corners among them, have the value {fill:.0f}, "
        "which is not air: fill what lies outside the body with air (-1024 HU; in pictures black)",
    )


def _cut_out(hu: Grid, calibrated: bool) -> Finding | None:
    """Return the refusal where everything outside the lungs was set to one value."""
    values = np.rint(hu).astype(np.int32)
    low = int(values.min())
    fill = low + int(np.bincount((values - low).ravel()).argmax())
    rest = hu[np.abs(hu - fill) > FILL_HU]
    lung = int(((rest > LUNG_HU[0]) & (rest < LUNG_HU[1])).sum())
    tissue = int((rest > SOFT_TISSUE_HU[0]).sum())
    share = 1 - len(rest) / hu.size
    if share < MIN_FILL_SHARE or tissue >= CUT_TISSUE_SHARE * (tissue + lung):
        return None
    what = "the lungs were cut out"
    if not calibrated:
        what += ", or pictures in a window for soft tissue do not show them"
    return Finding(
        "segmented-lungs",
        f"{what}: {share:.0%} of the pixels have the value {fill}, and "
        f"{lung / max(1, len(rest)):.0%} of the others are lung: give the whole slices",
    )


def _judge_neighbours(
    constant: Mask, air: npt.NDArray[Any], tissue: npt.NDArray[Any], names: Sequence[str]
) -> tuple[Finding | None, list[Finding]]:
    """Find slices that lack what their neighbours show."""
    missing = {
        "with one value throughout": constant,
        "without air although their neighbours show it": _abrupt(air) & ~constant,
        "without soft tissue although their neighbours show it": _abrupt(tissue) & ~constant,
    }
    lost = np.logical_or.reduce(list(missing.values()))
    outer = np.logical_and.accumulate(lost) | np.logical_and.accumulate(lost[::-1])[::-1]
    for what, mask in missing.items():
        if (inner := mask & ~outer).any():
            return Finding(
                "damaged-slices",
                f"damaged slices {what} ({_which(inner, names)}): export them again",
            ), []
    if (empty := constant & outer).mean() > MAX_EMPTY_ENDS:
        return Finding(
            "empty-slices",
            f"incomplete scan: empty slices at its ends ({_which(empty, names)}; "
            f"at most {MAX_EMPTY_ENDS:.0%} may be empty)",
        ), []
    if not outer.any():
        return None, []
    text = f"slices at the scan's ends lack air or soft tissue ({_which(outer, names)})"
    return None, [Finding("padded-ends", text)]


def _abrupt(share: npt.NDArray[Any]) -> Mask:
    """Mark runs of slices that lack this tissue although their neighbours show plenty."""
    lacking = share < MIN_SHARE
    mask = np.zeros_like(lacking)
    changes = np.flatnonzero(np.diff(lacking, prepend=False, append=False))
    for first, after in changes.reshape(-1, 2).tolist():
        beside = [*share[max(first - 1, 0) : first], *share[after : after + 1]]
        mask[first:after] = min(beside) >= CLEAR_SHARE
    return mask


def _judge_scale(hu: Grid) -> tuple[Finding | None, list[Finding]]:
    """Check that tissue and air lie where Hounsfield put them: a wrong rescale moves both."""
    warnings = []
    body = _median(hu, BODY_HU)
    found = f"the median of the body is {body:.0f} HU"
    if not POSSIBLE_BODY_HU[0] <= body <= POSSIBLE_BODY_HU[1]:
        low, high = POSSIBLE_BODY_HU
        text = (
            f"not Hounsfield units: {found} (possible: {low:.0f} to {high:.0f}): "
            "correct slope and intercept"
        )
        return Finding("not-hounsfield", text), []
    if not TYPICAL_BODY_HU[0] <= body <= TYPICAL_BODY_HU[1]:
        low, high = TYPICAL_BODY_HU
        warnings.append(Finding("scale-off", f"{found} (expected: {low:.0f} to {high:.0f})"))
    thin = _median(hu, THIN_HU)
    if thin < LOWEST_AIR_HU:
        text = f"the median of air and lung is {thin:.0f} HU (lowest: -1000)"
        warnings.append(Finding("scale-off", text))
    return None, warnings


def _median(hu: Grid, limits: tuple[float, float]) -> float:
    """Return the median of the values within limits, from every fourth one; 0 without any."""
    within = hu[(hu > limits[0]) & (hu < limits[1])]
    return float(np.median(within[::4])) if len(within) else 0.0


def _which(mask: Mask, names: Sequence[str]) -> str:
    """Name the marked slices."""
    chosen = np.flatnonzero(mask)
    first = names[chosen[0]]
    return first if len(chosen) == 1 else f"{len(chosen)} of {len(mask)} slices, first {first}"
