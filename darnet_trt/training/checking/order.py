"""Tell whether slices lie in the order of their content."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_NEXT: Final = 2
_SHARE: Final = 0.75
"""Of the slices, whose most alike other one lies at most `_NEXT` places away: 0.97 and more of 60
phantoms, 0.31 and less of the same shuffled, 0.16 and less where even numbers come before odd."""
_PIXELS: Final = 16
_FEWEST: Final = 8
_SHOWN, _GONE = 0.3, 0.1
"""Shares of the lung in the slice that shows most."""


def thumbnail(slice_: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return the averages of some 16×16 blocks of a slice, which quiets its noise."""
    step = max(1, min(slice_.shape) // _PIXELS)
    h, w = (size // step for size in slice_.shape)
    blocks = slice_[: h * step, : w * step].astype(np.float64).reshape(h, step, w, step)
    return np.asarray(blocks.mean((1, 3)))


def unordered(thumbnails: npt.NDArray[np.float64], lung: npt.NDArray[np.integer]) -> bool:
    """Return whether slices are not in the order of the body.

    Neighbours are then unlike. Two parts that changed places show it only by the lungs, which lie
    at both ends and not between: foot and head of a chest look alike.

    Args:
        thumbnails: Of slices (n, h, w), in the order of the files.
        lung: Pixels of aerated lung in slices, in the same order.
    """
    most = max(int(lung.max()), 1)
    ends = min(int(lung[0]), int(lung[-1]))
    if ends > _SHOWN * most and int(lung.min()) < _GONE * most:
        return True
    count = len(thumbnails)
    if count < _FEWEST:
        return False
    flat = thumbnails.reshape(count, -1)
    square = (flat**2).sum(1)
    apart = square[:, None] + square - 2 * flat @ flat.T
    np.fill_diagonal(apart, np.inf)
    away = np.abs(apart.argmin(1) - np.arange(count))
    return bool((away <= _NEXT).mean() < _SHARE)
