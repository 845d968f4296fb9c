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

_ERRORS: Final = 3.5
"""Standard errors that the largest and the smallest of three medians may lie apart."""


@dataclass(frozen=True)
class WarmUp:
    """When the times have settled.

    Attributes:
        settled: False: not yet.
        start: The first sample that is warm; the number of samples where `settled` is False.
    """

    settled: bool
    start: int


def warm_up(samples_ms: Sequence[float]) -> WarmUp:
    """Judge the times so far; call it while measuring, and stop at a bound of your own.

    The first quarter is left out, and the medians of the other three compared. They agree when they
    lie within 1 % of each other, or within what their own scatter (the quartiles within a quarter)
    explains. The windows grow with the run: a warm-up that is slow against few samples, and two
    modes that change seldom, are long enough in view after some time.
    """
    count = len(samples_ms)
    start = count // 4
    if count < LEAST_SAMPLES:
        return WarmUp(False, count)
    windows = np.array_split(np.asarray(samples_ms, dtype=np.float64)[start:], 3)
    quartiles = np.array([np.quantile(window, (0.25, 0.5, 0.75)) for window in windows])
    medians = quartiles[:, 1]
    apart = float(np.ptp(medians))
    scatter = float(np.mean(quartiles[:, 2] - quartiles[:, 0])) / 1.349
    error = 1.253 * scatter / math.sqrt(len(windows[0]))  # of a median of normal samples
    settled = apart <= max(TOLERANCE * float(medians.mean()), _ERRORS * error)
    return WarmUp(settled, start if settled else count)
