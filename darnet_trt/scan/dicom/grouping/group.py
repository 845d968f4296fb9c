"""Slices of one series, and where they lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.geometry import Vector
from darnet_trt.scan.dicom.grouping.stack import DUPLICATE_MM, SPACING_TOLERANCE
from darnet_trt.scan.dicom.header import Header

LEAST: Final = 5
"""Fewer slices come to lie at one distance by chance, and make no scan."""
MOSTLY: Final = 0.8
"""A stack with gaps still has this share of its slices beside their neighbours. Slices picked at
random from a stack lie at multiples of one distance too, but only half of them side by side."""


@dataclass(frozen=True)
class Group:
    """Slices that belong to one series.

    Attributes:
        headers: Theirs, in no order.
        unfit: Why they cannot be slices of an axial CT; None where they may be.
        notes: What was unusual about finding them; becomes warnings.
    """

    headers: tuple[Header, ...]
    unfit: Finding | None
    notes: tuple[Finding, ...] = ()


def together(indices: Iterable[int], of: Callable[[int], Hashable]) -> list[list[int]]:
    """Return the indices in parts, those of one value together, in the order of the first ones."""
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for index in indices:
        parts[of(index)].append(index)
    return list(parts.values())


def positions(headers: Sequence[Header]) -> Vector:
    """Return places in mm along the normal of the first header's plane, in the order given."""
    cosines = np.array(headers[0].get("ImageOrientationPatient"), float)
    normal = np.cross(cosines[:3], cosines[3:])
    origins = np.array([h.get("ImagePositionPatient") for h in headers], float)
    return np.asarray(origins @ normal)


def regular(places: Vector) -> bool:
    """Return whether two or more places lie at one distance from each other."""
    steps = np.diff(np.sort(places))
    if len(steps) == 0:
        return False
    typical = np.median(steps)
    return bool(
        typical > DUPLICATE_MM and np.abs(steps - typical).max() <= SPACING_TOLERANCE * typical
    )


def even(places: Vector) -> bool:
    """Return whether enough places are regular but for gaps of whole steps."""
    if len(places) < LEAST:
        return False
    steps = np.diff(np.sort(places))
    typical = np.median(steps)
    if typical <= DUPLICATE_MM:
        return False
    counts = np.rint(steps / typical)
    whole = np.abs(steps / typical - counts) <= SPACING_TOLERANCE
    return bool((whole & (counts >= 1)).all() and (counts == 1).mean() >= MOSTLY)


def distinct(places: Vector) -> Vector:
    """Return the places in order, each once."""
    ordered = np.sort(places)
    return ordered[np.diff(ordered, prepend=-np.inf) > DUPLICATE_MM]


def shared(a: Vector, b: Vector) -> float:
    """Return how much of the shorter one's range both places span, 0 to 1."""
    both = min(a.max(), b.max()) - max(a.min(), b.min())
    shorter = min(np.ptp(a), np.ptp(b))
    return float(both / shorter) if shorter > 0 and both > 0 else 0.0
