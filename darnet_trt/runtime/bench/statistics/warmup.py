"""Say from when on a runner is warm: until the moving median settles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

LEAST_SAMPLES: Final = 12
TOLERANCE: Final = 0.01
"""Medians that differ by less count as equal."""

_PRECISE: Final = 0.005
"""Relative standard error of a window's median that is small enough to judge by."""
_LONG: Final = 30
"""A window of so many samples is long enough to judge by, whatever its scatter."""
_ERRORS: Final = 3
"""Standard errors that the largest and the smallest of three medians may lie apart."""


@dataclass(frozen=True)
class WarmUp:
    """When the times have settled.

    Attributes:
        settled: False: not yet.
        start: The first sample that is warm; it and those after it can count as measured. The
            number of samples where `settled` is False.
    """

    settled: bool
    start: int


def warm_up(samples_ms: Sequence[float]) -> WarmUp:
    """Judge the times so far; call it while measuring, and stop at a bound of your own.

    The first quarter is left out, and the medians of the other three compared. They agree when they
    lie within 1 % of each other, or within what their own scatter (the quartiles within a quarter)
    explains. The windows grow with the run: a warm-up that is slow against few samples, and two
    modes that change seldom, are long enough in view after some time. The second half is warm.
    """
    count = len(samples_ms)
    not_yet = WarmUp(False, count)
    if count < LEAST_SAMPLES:
        return not_yet
    windows = np.array_split(np.asarray(samples_ms, dtype=np.float64)[count // 4 :], 3)
    quartiles = np.array([np.quantile(window, (0.25, 0.5, 0.75)) for window in windows])
    medians = quartiles[:, 1]
    scatter = float(np.mean(quartiles[:, 2] - quartiles[:, 0])) / 1.349
    error = 1.253 * scatter / math.sqrt(len(windows[-1]))  # of a median of normal samples
    level = float(medians[-1])
    if len(windows[-1]) < _LONG and error > _PRECISE * level:
        return not_yet
    apart = float(np.ptp(medians))
    return WarmUp(True, count // 2) if apart <= max(TOLERANCE * level, _ERRORS * error) else not_yet
