"""Slices that jump to and fro between two scans: passes that no attribute tells apart.

Neighbouring slices of one scan are more alike than those farther apart, and ever less so: the mean
difference of slices grows with their distance, and its curve bends down. Where two passes with a
breath between them interleave, every second slice is more alike than its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding

MIN_SMOOTHNESS: Final = 0.85
"""Difference at one distance, against the mean of that at one slice less and one more. Four real
series: 1.00 and more, and with slices interpolated between theirs as well; 36 phantoms: 0.95 and
more. Three of these series interleaved with a copy that is shifted by 6 mm in the plane: at most
0.71; by 8 mm (4 mm slices) or 32 mm (8 mm slices) along the body: 0.78 and 0.50. Motion of less
than a slice and a pixel of the input cannot be seen."""
FARTHEST: Final = 8
"""Slices; a pattern of more passes than half of it has not been seen."""
LEAST_PAIRS: Final = 8
"""Fewer pairs at a distance could differ by chance."""
_SHOWN_HU = (-1000.0, 300.0)  # contrast medium and metal would outweigh all else


def interleaved(coarse: npt.NDArray[np.float32], places: Sequence[int]) -> Finding | None:
    """Return the refusal where slices alternate between two or more scans.

    Args:
        coarse: Hounsfield units of some slices, shape (d, h, w).
        places: Number of each in its series, ascending.
    """
    shown = np.clip(coarse, *_SHOWN_HU)
    at = {place: index for index, place in enumerate(places)}
    differences: dict[int, float] = {}
    for distance in range(1, FARTHEST + 1):
        pairs = [(at[p], at[p + distance]) for p in places if p + distance in at]
        if len(pairs) >= LEAST_PAIRS:
            differences[distance] = float(
                np.mean([np.abs(shown[a] - shown[b]).mean() for a, b in pairs])
            )
    for distance, difference in differences.items():
        around = differences.get(distance - 1, 0.0), differences.get(distance + 1, 0.0)
        if all(around) and difference < MIN_SMOOTHNESS * sum(around) / 2:
            return Finding(
                "interleaved-scans",
                f"slices alternate between scans: each is more like the one {distance} places on "
                "than like those beside that (export each pass as a series of its own)",
            )
    return None
