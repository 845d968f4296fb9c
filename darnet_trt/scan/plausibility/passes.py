"""Find slices that alternate between two scans: passes that no attribute tells apart.

Neighbouring slices of one scan are more alike than those farther apart, and ever less so: the mean
difference of slices grows with their distance, and its curve bends down. Where two passes with a
breath between them interleave, every second slice is more alike than its neighbours.
"""

from __future__ import annotations

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
NEIGHBOURS: Final = 24
"""Slices to look at: some 30 to 100 mm of lung."""
OVERLAPPING: Final = 1.5
"""Slices thicker than this times their distance overlap: thin reconstructions, or two passes."""
FARTHEST: Final = 5
"""The largest distance, in slices; one more than the most passes that are looked for."""
LEAST_PAIRS: Final = 8
"""Fewer pairs at a distance could differ by chance."""
_SHOWN_HU = (-1000.0, 300.0)  # contrast medium and metal would outweigh all else


def interleaved(coarse: npt.NDArray[np.float32]) -> Finding | None:
    """Return the refusal where slices alternate between two or more scans.

    Args:
        coarse: Hounsfield units of neighbouring slices, shape (d, h, w).
    """
    shown = np.clip(coarse, *_SHOWN_HU)
    most = min(FARTHEST, len(shown) - LEAST_PAIRS)
    differences = [float(np.abs(shown[d:] - shown[:-d]).mean()) for d in range(1, most + 1)]
    for distance in range(2, most):
        before, here, after = differences[distance - 2 : distance + 1]
        if here < MIN_SMOOTHNESS * (before + after) / 2:
            return Finding(
                "interleaved-scans",
                f"slices alternate between scans: each is more like the slice {distance} places on "
                "than like the neighbours of that slice (export each pass as a series of its own)",
            )
    return None
