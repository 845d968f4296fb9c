"""Find slices whose numbering does not begin at an end of the scan: 20 to 39, then 0 to 19.

Some 50 scans of CC-CCII are numbered so. Neighbouring slices of a scan are alike, and its ends are
not. Here two neighbours differ more than any others, and the ends are neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding

JUMP: Final = 1.3
"""The largest difference of neighbours, against the second largest. Three real series: at most
1.08, and from 3.4 on where their numbering begins within; 40 phantoms: at most 1.17."""
ENDS: Final = 0.7
"""Difference of the first and the last slice, against the largest of neighbours. The same series:
3.5 and more, and at most 0.25 where their numbering begins within; the phantoms: 0.81 and more.
The two limits find 89 % of these phantoms (30 to 60 slices), whose ends are more alike than a
patient's."""
LEAST_PAIRS: Final = 8
"""Fewer could differ by chance. In a long scan few neighbours are decoded."""
_SHOWN_HU = (-1000.0, 200.0)


def disordered(coarse: npt.NDArray[np.float32], indices: Sequence[int]) -> int | None:
    """Return the index of the slice after the jump; None where there is none.

    Args:
        coarse: Hounsfield units of slices, shape (d, h, w).
        indices: Which slices of the scan these are, ascending.
    """
    shown = np.clip(coarse, *_SHOWN_HU)
    pairs = np.flatnonzero(np.diff(indices) == 1)
    if len(pairs) < LEAST_PAIRS:
        return None
    differences = np.abs(shown[pairs + 1] - shown[pairs]).mean((1, 2))
    second, largest = np.sort(differences)[-2:]
    ends = np.abs(shown[0] - shown[-1]).mean()
    if largest <= JUMP * second or ends >= ENDS * largest:
        return None
    return int(indices[pairs[differences.argmax()] + 1])


def in_disorder(name: str) -> Finding:
    """Return the warning; `name` is a file beside the jump."""
    return Finding(
        "slices-in-disorder",
        f"the slices do not seem to be in order: they jump at {name}, and the first follows the "
        "last",
    )
