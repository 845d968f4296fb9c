"""Tell how many independent samples dependent ones are worth: their effective sample size.

n samples whose integrated autocorrelation is tau say as much about a mean as n / tau independent
ones (Geyer, Statistical Science 7, 1992, 473-483). The block bootstrap, the usual other way, covers
too seldom for the short series of a benchmark (`python -m benchmarks.bench.intervals` has both).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]
"""Values (n,) in the order in which they were measured."""

LEAST_EFFECTIVE: Final = 60
"""Effective samples that a quantile's interval takes where samples are dependent. Their number is
itself an estimate: where fewer would do, the runs that get an interval are those that overestimate
it."""

_CRITICAL_VALUE: Final = 1.5
"""Standard errors from which autocorrelation counts: independent samples are called dependent in
15 to 25 % of runs, which costs them little; dependent ones are missed seldom."""
_LAGS: Final = 4

_TERMS: Final = 8
"""Fewest terms of the spectrum at zero whose mean is worth using."""
SHARE_OF_TERMS: Final = 12
"""One in so many terms of the spectrum counts as near zero."""
_LEAST_TAU: Final = 0.01
"""Of values that alternate exactly, which else would be worth infinitely many."""


def ranks(samples: Series) -> Series:
    """Return each sample's rank, centred at 0; samples that are equal have the same."""
    ordered = np.sort(samples)
    twice = np.searchsorted(ordered, samples) + np.searchsorted(ordered, samples, "right")
    return np.asarray((twice - len(samples)) / 2, dtype=np.float64)


def is_dependent(samples: Series) -> bool:
    """Test whether a sample tells of the next: the autocorrelation of ranks, which no tail rules.

    Two statistics are compared with the normal distribution: the autocorrelation at lag 1, and the
    sum of the first four, which sees what is slow under noise (Wald and Wolfowitz, Annals of
    Mathematical Statistics 14, 1943, 378-388).
    """
    rank, count = ranks(samples), len(samples)
    power = float(rank @ rank)
    if count <= 2 * _LAGS or power == 0:
        return False
    found = [float(rank[lag:] @ rank[:-lag]) / power + 1 / count for lag in range(1, _LAGS + 1)]
    score = max(abs(found[0]), abs(sum(found)) / math.sqrt(_LAGS)) * math.sqrt(count)
    return score > _CRITICAL_VALUE


def integrated_autocorrelation(series: Series) -> float:
    """Return tau, the variance of the mean times n over the variance of one value.

    Where the values hang together, the sum of autocorrelations that Geyer's initial monotone
    sequence takes. Where they alternate (tau below 1, as with a timer that interrupts every
    seventh run), that sum is blind to the period; there it is the mean of the spectrum's lowest
    twelfth (Lazarus, Lewis, Stock and Watson, Journal of Business & Economic Statistics 36, 2018,
    541-559), and 1 for fewer than 96 values.
    """
    centred, count = series - series.mean(), len(series)
    power = float(centred @ centred)
    if count < 4 or power == 0:
        return 1.0
    length = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(centred, length)
    products = np.fft.irfft(np.abs(spectrum) ** 2, length)[: 2 * (count // 2)] / power
    pairs = np.minimum.accumulate(products[::2] + products[1::2])
    tau = 2 * float(pairs[pairs > 0].sum()) - 1
    terms = count // SHARE_OF_TERMS
    if tau >= 1:
        return tau
    if terms < _TERMS:
        return 1.0
    return min(max(_spectrum_near_zero(centred, terms) / power, _LEAST_TAU), 1.0)


def student_t_quantile(df: float, alpha: float) -> float:
    """Return the value that the magnitude of Student's t exceeds with the probability `alpha`.

    `df` is the number of degrees of freedom.

    By Wallace's approximation (Annals of Mathematical Statistics 30, 1959, 1124-1130): for 5 %
    right to 1.2 % from 3 degrees of freedom on; too large for fewer and for rarer misses.
    """
    score = NormalDist().inv_cdf(alpha / 2) * (8 * df + 3) / (8 * df + 1)
    exponent = min(score**2 / df, 700.0)
    return math.sqrt(df * math.expm1(exponent))


def _spectrum_near_zero(centred: Series, terms: int) -> float:
    """Return n times the mean of the first squared terms of the cosine transform."""
    # The cosine transform of the series is the Fourier transform of it and its mirror image.
    mirrored = np.fft.rfft(np.concatenate([centred, centred[::-1]]))[1 : terms + 1]
    return float(np.mean(np.abs(mirrored) ** 2) / 2)
