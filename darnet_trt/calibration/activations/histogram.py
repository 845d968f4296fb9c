"""Histograms of an activation's magnitudes that can be merged.

Bins are a power of two wide and start at 0, so histograms of one tensor merge exactly, in any
order: neighbouring bins of the finer one are added. Memory does not grow with the scans.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

BINS: Final = 4096
_CHUNK: Final = 1 << 16  # elements at once, to fit the processor's cache


@dataclass(frozen=True, eq=False)
class Statistics:
    """The values of one activation tensor in some scans.

    Attributes:
        smallest: Smallest of all finite elements, exact.
        largest: Largest of all finite elements, exact.
        not_finite: Number of elements that are NaN or infinite.
        exponent: A bin is 2^exponent wide.
        counts: int64 (BINS,): number of sampled elements by magnitude.
    """

    smallest: float
    largest: float
    not_finite: int
    exponent: int
    counts: npt.NDArray[np.int64]

    @property
    def magnitude(self) -> float:
        """The largest magnitude."""
        return max(-self.smallest, self.largest, 0.0)

    @property
    def signed(self) -> bool:
        """Return whether any element is negative."""
        return self.smallest < 0

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """float64 (BINS + 1,): the bins' borders."""
        return np.arange(BINS + 1, dtype=np.float64) * 2.0**self.exponent


def statistics_of(
    sample: npt.NDArray[np.float32], smallest: float, largest: float, not_finite: int = 0
) -> Statistics:
    """Return the statistics of one tensor of one scan.

    Args:
        sample: Some or all of its finite elements, of any shape.
        smallest: Smallest of all its finite elements.
        largest: Largest of all its finite elements.
        not_finite: Number of elements that are NaN or infinite.
    """
    exponent = _exponent(max(-smallest, largest, 0.0))
    counts = np.zeros(BINS, np.int64)
    scale = np.float32(2.0**-exponent)
    flat = sample.reshape(-1)
    scaled = np.empty(min(_CHUNK, flat.size), np.float32)
    bins = np.empty(scaled.size, np.int32)
    for start in range(0, flat.size, _CHUNK):
        values = flat[start : start + _CHUNK]
        n = values.size
        np.abs(values, out=scaled[:n])
        scaled[:n] *= scale
        np.copyto(bins[:n], scaled[:n], casting="unsafe")
        counts += np.bincount(bins[:n], minlength=BINS)
    return Statistics(smallest, largest, not_finite, exponent, counts)


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Return the statistics of the scans of both."""
    exponent = max(a.exponent, b.exponent)
    return Statistics(
        smallest=min(a.smallest, b.smallest),
        largest=max(a.largest, b.largest),
        not_finite=a.not_finite + b.not_finite,
        exponent=exponent,
        counts=_coarser(a, exponent) + _coarser(b, exponent),
    )


# Exponent of float32's smallest normal number: its scale, 2^126, is still a float32.
_SMALLEST_EXPONENT: Final = -126


def _exponent(magnitude: float) -> int:
    """Return the exponent of the narrowest bins that reach beyond a magnitude."""
    if magnitude == 0:
        return _SMALLEST_EXPONENT
    _, exponent = math.frexp(magnitude)  # magnitude < 2^exponent
    return max(exponent - int(math.log2(BINS)), _SMALLEST_EXPONENT)


def _coarser(found: Statistics, exponent: int) -> npt.NDArray[np.int64]:
    """Return the counts in bins 2^exponent wide."""
    bins = max(BINS >> (exponent - found.exponent), 1)
    return np.pad(found.counts.reshape(bins, -1).sum(1), (0, BINS - bins))
