"""Measure on a coarse grid what tells head from foot, front from back, and left from right.

All signs are shares and ratios, so they need no spacing, and they use nothing above 149 HU, so
they also hold for pictures whose grey ends at 150 HU. Each is antisymmetric: a flip of its axis
turns its sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TISSUE_HU: Final = -250.0
LIVER_HU: Final = 0.0
"""Liver, spleen and heart lie above, fat and most of a stomach's content below."""
BONE_HU: Final = 149.0
"""The highest grey of a picture is 150 HU."""
END_AREAS: Final = (0.3, 0.5)
"""The ends of the lungs are where a slice shows these shares of the largest slice's lung."""
BASE_AREA: Final = 0.6
"""The base reaches up to the first slice with this share of the largest slice's lung."""
MIDLINE: Final = 0.08
"""Spine and great vessels lie within this share of the lungs' width of their middle."""
OUTER: Final = 0.25
"""The spine lies in the hind quarter of the lungs' depth and beyond; heart and aorta between."""
NOTCH: Final = 0.35
"""The spine reaches forward into the hind third of the lungs' depth."""
MAX_BONE: Final = 0.5
"""Of the midline's tissue, at most this share is as bright as bone: 0.06 to 0.24 where bone can be
told, 0.46 and more in pictures whose window ends at muscle."""
MIN_FACE: Final = 0.02
"""Planes with less tissue lie outside the body: padding, or noise."""
MIN_RUN: Final = 0.1
"""A slice with a smaller share of the largest slice's lung does not belong to the lungs."""


@dataclass(frozen=True, eq=False)
class Chest:
    """The part of a grid that shows the lungs.

    Attributes:
        hu: The slices that show lung (n, h, w).
        lung: Where it is (n, h, w).
        below: Slices of the grid before these, at most an eighth of their number.
        rows, columns: Between which 96 % of the lung lie, along h and w.
    """

    hu: Grid
    lung: Mask
    below: Grid
    rows: tuple[float, float]
    columns: tuple[float, float]

    def beside(self, share: float) -> Mask:
        """Mark the columns at most this share of the lungs' width away from their middle."""
        low, high = self.columns
        middle = np.arange(self.hu.shape[2]) - (low + high) / 2
        return np.asarray(np.abs(middle) <= share * (high - low))

    def depth(self, rows: int) -> npt.NDArray[np.float64]:
        """Return the rows' places in the lungs' depth: 0 in front, 1 behind."""
        top, bottom = self.rows
        return np.asarray((np.arange(rows) - top) / max(bottom - top, 1))


def find_chest(hu: Grid, lung: Mask) -> Chest | None:
    """Find the slices that show lung; None without any.

    Args:
        hu: The grid (d, h, w).
        lung: Its aerated lung.
    """
    area = lung.sum((1, 2))
    if not area.any():
        return None
    without = np.flatnonzero(area < MIN_RUN * area.max())
    largest = int(area.argmax())
    first = int(without[without < largest].max(initial=-1)) + 1
    last = int(without[without > largest].min(initial=len(hu)))
    lung = lung[first:last]
    below = hu[max(0, first - len(lung) // 8) : first]
    return Chest(
        hu[first:last],
        lung,
        below,
        _between(lung.sum((0, 2)), 0.02),
        _between(lung.sum((0, 1)), 0.02),
    )


def lung_share(chest: Chest) -> float:
    """Return which share of the body is lung in the slice that shows most of it."""
    largest = int(chest.lung.sum((1, 2)).argmax())
    lung = int(chest.lung[largest].sum())
    return lung / (lung + int((chest.hu[largest] > TISSUE_HU).sum()))


@dataclass(frozen=True)
class Profile:
    """How the lung divides along one axis.

    Attributes:
        gap: The least lung in the middle as a share of the most anywhere; next to none between
            two lungs, so this is small along left and right alone.
        lesser: The lung on one side of the middle as a share of that on the other, 0 to 1.
    """

    gap: float
    lesser: float


def lung_profile(lung: Mask, axis: int) -> Profile:
    """Return how the lung divides along one axis."""
    profile = lung.sum(tuple(other for other in range(3) if other != axis))
    low, high = _between(profile, 0.02)
    middle = np.arange(len(profile)) - (low + high) / 2
    within = profile[np.abs(middle) <= max(0.5, 0.12 * (high - low))]
    halves = profile[middle < 0].sum(), profile[middle > 0].sum()
    return Profile(
        float(within.min() / max(profile.max(), 1)), float(min(halves) / max(*halves, 1))
    )


def cut_faces(hu: Grid) -> list[float]:
    """Return, along d, h and w, which share of the body's end planes is tissue, the lesser of two.

    A scan cuts through the body at head and foot; elsewhere the skin bounds it.
    """
    found = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        share = (hu > TISSUE_HU).mean(axes)
        shows = np.flatnonzero(share >= MIN_FACE)
        found.append(float(min(share[shows[0]], share[shows[-1]])) if len(shows) else 0.0)
    return found


def spine_side(chest: Chest) -> float | None:
    """Return where bone of the midline lies that runs through all slices: 1 behind, −1 in front.

    A spine does, sternum and bright blood do not. None where most tissue is as bright as bone, as
    in pictures with a narrow window.
    """
    midline = chest.hu[:, :, chest.beside(0.12)]
    bone = midline >= BONE_HU
    if bone.sum() > MAX_BONE * max(int((midline > TISSUE_HU).sum()), 1):
        return None
    through = ((bone.sum(2) >= 2).mean(0)) ** 2
    place = chest.depth(len(through))
    return _balance(through[place <= OUTER].sum(), through[place >= 1 - OUTER].sum())


def notch_side(chest: Chest) -> float:
    """Return where more of the midline is never lung, as the spine is: 1 behind, −1 in front."""
    never = np.asarray(~chest.lung.any(0))[:, chest.beside(0.15)]
    place = chest.depth(len(never))
    front = never[(place >= 0) & (place <= NOTCH)]
    behind = never[(place >= 1 - NOTCH) & (place <= 1)]
    return float(behind.mean() - front.mean()) if front.size and behind.size else 0.0


def apex_side(chest: Chest) -> float:
    """Return at which end the lungs are narrow and little lies beside them: 1 last, −1 first.

    The base reaches far to the side, with heart and dome between it and the midline; the apex
    does not. Each lung is measured alone, so that a consolidated base of one counts little.
    """
    return sum(_narrowing(side) for side in _both(chest)) / 2


def _narrowing(lung: Mask) -> float:
    """Return how much narrower one lung (d, h, w) ends than it begins; w runs to the side."""
    area = lung.sum((1, 2))
    if not area.any():
        return 0.0
    reach = [_between(plane.sum(0), 0.05)[1] + 1 for plane in lung]
    narrower = 0.0
    for share in END_AREAS:
        ends = np.flatnonzero(area >= share * area.max())
        narrower += np.log(reach[ends[0]] / reach[ends[-1]]) / len(END_AREAS)
    hull = ((lung.shape[2] - lung[:, :, ::-1].argmax(2)) * lung.any(2)).sum(1)
    shows = np.flatnonzero(area >= MIN_RUN * area.max())
    beside = 1 - area[shows] / hull[shows]
    third = max(1, len(shows) // 3)
    emptier = np.log(max(beside[:third].mean(), 0.01) / max(beside[-third:].mean(), 0.01))
    return float(narrower + emptier / 2)


def heart_side(chest: Chest) -> float:
    """Return how far the tissue between the lungs lies left of the spine, as a share of the lungs.

    Measured in the front half and the lower half of the lungs, where the heart lies; negative to
    the right. The grid must lie S P, and its left and right are in question.
    """
    top, bottom = chest.rows
    spine = _spine_columns(chest)
    shift = weight = 0.0
    count = len(chest.lung)
    for place in range(count // 6, max(count // 2, 1)):
        plane, column = chest.lung[place], spine[place]
        middle = round(column)
        rows = plane[int(top + 0.1 * (bottom - top)) : int((top + bottom) / 2) + 1]
        right, left = rows[:, : middle + 1], rows[:, middle:]
        both = right.any(1) & left.any(1)
        first = middle - right[:, ::-1].argmax(1)[both]  # the last lung right of the spine
        last = middle + left.argmax(1)[both]
        width = last - first - 1
        shift += float((((first + last) / 2 - column) * width).sum())
        weight += float(width.sum())
    low, high = chest.columns
    return shift / max(weight, 1.0) / max(high - low, 1.0)


def liver_side(chest: Chest) -> float:
    """Return on which side more soft tissue lies at the base: 1 right, −1 left.

    The liver fills the right side and its dome stands higher; the left one holds fat, gas, and
    the content of stomach and bowel. The grid must lie S P.
    """
    area = chest.lung.sum((1, 2))
    base = int(np.flatnonzero(area >= BASE_AREA * area.max())[0])
    if base == 0:  # the scan begins above it
        return 0.0
    top, bottom = (round(row) for row in chest.rows)
    slices = np.concatenate([chest.below, chest.hu[:base]])
    tissue = slices[:, top : bottom + 1] > LIVER_HU
    low, high = chest.columns
    columns = np.arange(chest.hu.shape[2])
    aside = ~chest.beside(MIDLINE) & (columns >= low) & (columns <= high)
    right = columns < (low + high) / 2
    return _balance(tissue[:, :, aside & ~right].sum(), tissue[:, :, aside & right].sum())


def uneven_heights(chest: Chest) -> float:
    """Return how much higher one lung's centre lies than the other's, as a share of their height.

    Fluid and collapse take a lung's base away.
    """
    places = np.arange(len(chest.lung))
    areas = [side.sum((1, 2)) for side in _both(chest)]
    first, second = (float(area @ places) / max(float(area.sum()), 1.0) for area in areas)
    return abs(first - second) / len(places)


def lung_sides(chest: Chest) -> float:
    """Return how the aerated lung divides between the body's sides: 1 all left, −1 all right."""
    low, high = _between((chest.hu > TISSUE_HU).sum((0, 1)), 0.02)
    left = np.arange(chest.hu.shape[2]) > (low + high) / 2
    profile = chest.lung.sum((0, 1))
    return _balance(profile[~left].sum(), profile[left].sum())


def _both(chest: Chest) -> tuple[Mask, Mask]:
    """Return the left and the right half of the lungs, each from the midline to the side."""
    middle = round(sum(chest.columns) / 2)
    return chest.lung[:, :, middle:], chest.lung[:, :, middle - 1 :: -1]


def _spine_columns(chest: Chest) -> npt.NDArray[np.float64]:
    """Return the spine's column in each slice that shows lung, on a straight line."""
    low, high = chest.columns
    strip = chest.beside(0.15)
    behind = np.arange(chest.hu.shape[1]) > sum(chest.rows) / 2
    bone = (chest.hu[:, behind] >= BONE_HU).sum(1)[:, strip]
    total = bone.sum(1)
    places = np.arange(len(bone))
    shows = total > 0
    if shows.sum() < 2:
        return np.full(len(bone), (low + high) / 2)
    columns = (bone * np.flatnonzero(strip)).sum(1)[shows] / total[shows]
    line = np.polyval(np.polyfit(places[shows], columns, 1), places)
    return np.asarray(line.clip(low, high))


def _between(profile: npt.NDArray[Any], tail: float) -> tuple[float, float]:
    """Return between which places all but a tail at each end of a profile lies."""
    sums = np.cumsum(profile)
    low, high = np.searchsorted(sums, (tail * sums[-1], (1 - tail) * sums[-1]))
    return float(low), float(high)


def _balance(first: float, second: float) -> float:
    """Return −1 where all is first, 1 where all is second."""
    return float((second - first) / max(first + second, 1e-6))
