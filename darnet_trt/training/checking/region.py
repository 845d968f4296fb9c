"""Blank the lungs and every lesion out of a scan, by a shape that no disease changes.

A segmented outline would show the disease: fluid and consolidation change it. So the shape comes
from the skin: a cylinder with rounded corners in the box around the body, the same for all slices.
It covers the ribcage, for the skin lies outside it. On phantoms of one person what is left is the
same, bit by bit, whatever the disease.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_EXPONENT: Final = 2.5
"""2 is an ellipse, more squares it: a chest's section is between them."""
_SHARE: Final = 0.95
"""Of the box's sides."""


def inside(view: Array, tissue: float) -> npt.NDArray[np.bool_]:
    """Mark the pixels of every slice that may show lung, (h, w); all where no slice shows a body.

    Args:
        view: A scan (d, h, w).
        tissue: What is above it, is tissue.
    """
    body = view > tissue
    if not body.any():
        return np.ones(view.shape[1:], np.bool_)
    away = [_away(np.asarray(body.any(3 - axis))) for axis in (1, 2)]
    return np.asarray(away[0][:, None] + away[1] < _SHARE**_EXPONENT)


def _away(lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return how far each place along an axis lies from the body's middle: at its skin 1.

    Args:
        lines: Whether a slice shows tissue at a place, (d, n). The median over the slices leaves
            out shoulders, and what lies at the ends.
    """
    lines = lines[lines.any(1)]
    first = float(np.median(lines.argmax(1)))
    last = float(np.median(lines.shape[1] - lines[:, ::-1].argmax(1)))
    half = max((last - first) / 2, 0.5)
    places = np.arange(lines.shape[1]) + 0.5
    return np.asarray(np.abs((places - (first + last) / 2) / half) ** _EXPONENT)
