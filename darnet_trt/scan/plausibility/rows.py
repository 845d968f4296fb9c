"""Whether pixels lie in rows of the length that a header says.

64×64 pixels are as many as 32×128: their number cannot tell. But each pixel is like the one below
it, so pixels one row apart differ least.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import Finding

MAX_LIKENESS: Final = 0.85
"""Difference of pixels one row of another length apart, against that of pixels one row apart. None
of 187 slices of five real series and 32 of a phantom falls below 0.95; read with an eighth to four
times their Columns, all of the middle half of each series fall below 0.85."""
FARTHEST: Final = 8
"""Times that a row may be longer or shorter: pixels a few columns apart are alike, too."""
_SHOWN_HU = (-1000.0, 300.0)  # contrast medium and metal would outweigh all else


def other_rows(hu: npt.NDArray[Any]) -> Finding | None:
    """Return the refusal where a slice looks as if it had rows of another length.

    Args:
        hu: Hounsfield units as stored, shape (h, w).
    """
    count, columns = hu.size, hu.shape[1]
    shown = np.clip(hu.ravel()[count // 4 : -(count // 4)], *_SHOWN_HU).astype(np.float32)

    def difference(apart: int) -> float:
        return float(np.abs(shown[apart:] - shown[:-apart]).mean())

    longest = min(FARTHEST * columns, len(shown) // 2)
    lengths = [n for n in range(-(-columns // FARTHEST), longest + 1) if count % n == 0]
    limit = MAX_LIKENESS * difference(columns)
    best = min(lengths, key=difference)
    if difference(best) >= limit:
        return None
    return Finding(
        "other-matrix",
        f"the pixels look like {count // best} rows of {best}, but the header says "
        f"{hu.shape[0]}×{columns} (Rows × Columns): export the series again",
    )
