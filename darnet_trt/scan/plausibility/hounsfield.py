"""Whether decoded values are Hounsfield units of a body: of each slice, and of the whole scan.

A slice whose bytes were lost or mixed up still decodes, and a wrong rescale still gives numbers.
Both would be windowed into an input that looks like one. What is judged here is a coarse grid of
the decoded slices, which is there for the lungs anyway.

What nobody's body can show is refused. Metal can show much: a 12-bit scan saturates at 3071 HU,
an extended scale ends at 16 000 to 32 767, and dark streaks lie far below air; but metal and the
densest bone together fill a few hundredths of a slice. Padding can be any number below air.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["judge_values"]

Grid = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

PLAUSIBLE_HU: Final = (-33000.0, 33000.0)
"""Padding at −32768 and saturated metal at 32767 occur; beyond are not Hounsfield units."""
AIR_HU: Final = -400.0
"""Air and aerated lung lie below."""
SOFT_TISSUE_HU: Final = (-250.0, 250.0)
MIN_SHARE: Final = 0.01
"""Share of air, and of soft tissue, that a scan of a body shows at the least."""
CLEAR_SHARE: Final = 0.1
"""A neighbour with this share shows it clearly: a tenth of a slice does not end within a step."""
DENSE_HU: Final = 1500.0
"""Above it lie only metal and the densest bone."""
DENSE_SHARE: Final = 0.03
"""Two shoulder prostheses with their streaks; more is worth a look."""
MAX_DENSE_SHARE: Final = 0.1
"""Of 350 mm a square of 110 mm: no implant is so large. Random 12-bit values reach 0.38."""
MAX_EMPTY_ENDS: Final = 0.25
"""Resampled volumes are padded with empty slices; a scan that lacks more is not whole."""

BODY_HU: Final = (-300.0, DENSE_HU)
TYPICAL_BODY_HU: Final = (-125.0, 125.0)
"""The median of a body: between fat (−110) and muscle with contrast medium (60)."""
POSSIBLE_BODY_HU: Final = (-200.0, 200.0)
THIN_HU: Final = (-1300.0, -600.0)
"""Air and aerated lung; padding at −1500 and below is no air."""
LOWEST_AIR_HU: Final = -1060.0
"""Air is −1000 by definition and −1024 where it is clipped."""


def judge_values(
    hu: Grid, names: Sequence[str], calibrated: bool
) -> tuple[str | None, tuple[str, ...]]:
    """Why these cannot be Hounsfield units of a body, or None; and what is unusual otherwise.

    Args:
        hu: The decoded slices on a coarse grid (d, h, w), foot to head.
        names: What to call each slice.
        calibrated: Whether they were read as Hounsfield units, not as grey values of pictures.
    """
    low, high = hu.min((1, 2)), hu.max((1, 2))
    ends = f"values from {low.min():g} to {high.max():g}"
    if low.min() == high.max():
        return f"a constant image (all {low.min():g})", ()
    wild = (low < PLAUSIBLE_HU[0]) | (high > PLAUSIBLE_HU[1])
    if wild.any():
        return f"{ends} cannot be Hounsfield units ({_told(wild, names)})", ()
    dense = (hu > DENSE_HU).mean((1, 2))
    if (dense > MAX_DENSE_SHARE).any():
        return (
            f"more than {MAX_DENSE_SHARE:.0%} of a slice lies above {DENSE_HU:.0f} HU, as in no "
            f"body ({_told(dense > MAX_DENSE_SHARE, names)}, up to {dense.max():.0%})"
        ), ()
    air = (hu < AIR_HU).mean((1, 2))
    tissue = ((hu > SOFT_TISSUE_HU[0]) & (hu < SOFT_TISSUE_HU[1])).mean((1, 2))
    for share, what in ((air, "air"), (tissue, "soft tissue")):
        if share.mean() < MIN_SHARE:
            return f"{ends} without {what}: not Hounsfield units of a body", ()
    wrong, warnings = _judge_neighbours(low == high, air, tissue, names)
    if wrong is None and calibrated:
        wrong, more = _judge_scale(hu)
        warnings += more
    if (dense > DENSE_SHARE).any():
        told = _told(dense > DENSE_SHARE, names)
        warnings.append(f"much metal, or broken pixels: up to {dense.max():.0%} of {told}")
    return (wrong, ()) if wrong else (None, tuple(warnings))


def _judge_neighbours(
    constant: Mask, air: npt.NDArray[Any], tissue: npt.NDArray[Any], names: Sequence[str]
) -> tuple[str | None, list[str]]:
    """Slices that miss what those beside them show."""
    missing = {
        "hold one value throughout": constant,
        "show no air between others that do": _abrupt(air) & ~constant,
        "show no soft tissue between others that do": _abrupt(tissue) & ~constant,
    }
    lost = np.logical_or.reduce(list(missing.values()))
    outer = np.logical_and.accumulate(lost) | np.logical_and.accumulate(lost[::-1])[::-1]
    for what, mask in missing.items():
        if (inner := mask & ~outer).any():
            return f"broken pixels: slices that {what} ({_told(inner, names)})", []
    if (empty := constant & outer).mean() > MAX_EMPTY_ENDS:
        return f"not a whole scan: empty slices at its ends ({_told(empty, names)})", []
    if not outer.any():
        return None, []
    return None, [f"slices at its ends lack air or soft tissue ({_told(outer, names)})"]


def _abrupt(share: npt.NDArray[Any]) -> Mask:
    """Where hardly any of a slice, or of a run of them, is what much of those beside it is."""
    lacking = share < MIN_SHARE
    mask = np.zeros_like(lacking)
    changes = np.flatnonzero(np.diff(lacking, prepend=False, append=False))
    for first, after in changes.reshape(-1, 2).tolist():
        beside = [*share[max(first - 1, 0) : first], *share[after : after + 1]]
        mask[first:after] = min(beside) >= CLEAR_SHARE
    return mask


def _judge_scale(hu: Grid) -> tuple[str | None, list[str]]:
    """Whether tissue and air lie where Hounsfield put them: a wrong rescale moves both."""
    warnings = []
    body = _median(hu, BODY_HU)
    told = f"the median of the body is {body:.0f} HU"
    if not POSSIBLE_BODY_HU[0] <= body <= POSSIBLE_BODY_HU[1]:
        low, high = POSSIBLE_BODY_HU
        return f"not Hounsfield units: {told} ({low:.0f} to {high:.0f} are possible)", []
    if not TYPICAL_BODY_HU[0] <= body <= TYPICAL_BODY_HU[1]:
        low, high = TYPICAL_BODY_HU
        warnings.append(f"{told}, where {low:.0f} to {high:.0f} are expected")
    thin = _median(hu, THIN_HU)
    if thin < LOWEST_AIR_HU:
        warnings.append(f"air and lung lie at {thin:.0f} HU, where -1000 is the lowest")
    return None, warnings


def _median(hu: Grid, limits: tuple[float, float]) -> float:
    """Of what lies within: of every fourth value, which is as steady; 0 where there is none."""
    within = hu[(hu > limits[0]) & (hu < limits[1])]
    return float(np.median(within[::4])) if len(within) else 0.0


def _told(mask: Mask, names: Sequence[str]) -> str:
    """Which slices."""
    chosen = np.flatnonzero(mask)
    first = names[chosen[0]]
    return first if len(chosen) == 1 else f"{len(chosen)} of {len(mask)} slices, first {first}"
