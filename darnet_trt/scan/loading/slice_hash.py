"""Recognize a slice by its Hounsfield units, whatever file they were read from.

Every fourth row and column of 512×512 pixels is hashed: noise makes these differ between any two
slices of patients, and hashing all of them would take ten times as long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BYTES: Final = 8
"""Taken of SHA-256. A thousand scans against a thousand others, 128 slices each, are 1.6e10 pairs
of slices: one pair agrees by chance once in 1e9 such comparisons, and two of one scan never."""
_PIXELS: Final = 128
"""Rows and columns that are hashed, at least, where a slice has as many."""
_LOWEST_HU: Final = -1024
_HIGHEST_HU: Final = 3071
"""The values of 12 bits. Programs that convert scans replace what lies beyond (padding)."""
_FLAT: Final = 0.05
"""Take a slice for empty if a smaller share of its pixels differs from their neighbour."""
_LANDMARKS_MM: Final = 40.0
_BESIDE_MM: Final = 0.0137
"""So that no slice lies exactly on a landmark, where a rounded position would decide."""


def slice_hash(stored: npt.NDArray[Any], slope: float, intercept: float) -> int | None:
    """Return a hash of a slice, the same for every format and in-plane direction.

    The values are int16 Hounsfield units from -1024 to 3071. The side with the larger sum comes
    first, along both axes: so it does not matter whether a header tells left and right, or front
    and back, the wrong way round.

    Args:
        stored: Its stored values (h, w), rows from front to back or the reverse.
        slope: What makes Hounsfield units of them.
        intercept: What is added then.

    Returns:
        64 bits; None for a slice that is empty: air, padding, or a few areas of one value each.
        Slices of different scans can share these.
    """
    rows, columns = map(_mirrored, stored.shape)
    part = stored.take(rows, 0).take(columns, 1).astype(np.float32)
    with np.errstate(all="ignore"):  # the checks of the values refuse what is not a number
        hu = np.rint(part * np.float32(slope) + np.float32(intercept))
        hu = hu.clip(_LOWEST_HU, _HIGHEST_HU).astype("<i2")
    if np.count_nonzero(hu[:, 1:] != hu[:, :-1]) < _FLAT * hu.size:
        return None
    sums = hu.sum(1, dtype=np.int64), hu.sum(0, dtype=np.int64)
    hu = hu[tuple(slice(None, None, _direction(one)) for one in sums)]
    digest = hashlib.sha256(np.ascontiguousarray(hu).data)
    digest.update(repr(hu.shape).encode())
    return int.from_bytes(digest.digest()[:_BYTES], "little", signed=True)


def _mirrored(size: int) -> npt.NDArray[np.intp]:
    """Return every n-th place from both ends, so that a flip takes the same places."""
    places = np.arange(0, (size + 1) // 2, max(1, size // _PIXELS))
    return np.union1d(places, size - 1 - places)


def _direction(sums: npt.NDArray[np.int64]) -> int:
    half = len(sums) // 2
    return -1 if sums[-half:].sum() > sums[:half].sum() else 1


def landmarks(positions_mm: Sequence[float], first: int) -> list[int]:
    """Return slices that a copy has too, wherever the copy begins and ends.

    The network's input needs only some slices of a thin-sliced scan, and which ones depends on
    the ends. Landmarks lie at fixed places in the patient's coordinates, 40 mm apart.

    Args:
        positions_mm: Places of slices along the body, ascending; empty where they are not known.
        first: Number of the first of these slices.
    """
    steps = np.floor((np.array(positions_mm) - _BESIDE_MM) / _LANDMARKS_MM)
    return (np.flatnonzero(np.diff(steps)) + 1 + first).tolist()
