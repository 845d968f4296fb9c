"""Halve slices as JPEG 2000 does, so that a slice gives one input however it is stored.

`halve` is the low-pass of the reversible 5/3 wavelet (ISO/IEC 15444-1, annex F), rounding
included: what decoders give of a lossless codestream at one resolution level less.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FILL_HU: Final = -1300.0
"""Programs fill what was not reconstructed with -1500 to -8192; noise in air stays above this."""


def halve(whole: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the low-pass of a slice: (h, w) → (⌈h/2⌉, ⌈w/2⌉), samples at even rows and columns.

    Integers give int32, and may leave the range of the slice's values at edges.
    """
    if whole.dtype.kind in "iu" and whole.dtype.itemsize <= 2:
        whole = whole.astype(np.int32)
    elif whole.dtype.kind in "iu":
        whole = whole.astype(np.int64)
    tall = _halve_rows(whole)
    return np.ascontiguousarray(_halve_rows(np.ascontiguousarray(tall.T)).T)


def _halve_rows(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Lift along the first axis; rows beyond an end are mirrored at it (F.3.7, F.4.8)."""
    even, odd = x[::2], x[1::2]
    if not len(odd):
        return even
    after = even[1:] if len(x) % 2 else np.concatenate([even[1:], even[-1:]])
    high = odd - _shifted(even[: len(odd)] + after, 1)
    low = even.copy()
    low[: len(odd)] += _shifted(np.concatenate([high[:1], high[:-1]]) + high + 2, 2)
    if len(x) % 2:
        low[-1] += _shifted(2 * high[-1] + 2, 2)
    return low


def _shifted(x: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Divide by a power of two and round down; whole numbers in floats as integers would."""
    return x >> bits if x.dtype.kind == "i" else np.floor(x / (1 << bits))


def beside_fill(fill: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark the neighbours of filled samples too: the low-pass mixed some of the fill into them."""
    tall = fill.copy()
    tall[1:] |= fill[:-1]
    tall[:-1] |= fill[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide
