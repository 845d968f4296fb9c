"""Say by how much one runner is slower than another, with an interval.

The ratio is that of a typical round: exp of the mean of log(second / first) without its lowest and
highest fifth. A burst of another process that hits some rounds does not move it; where only the
speed differs and not the scatter, it is the ratio of the medians as well. Its error is that of a
trimmed mean (Tukey and McLaughlin, Sankhya A 25, 1963, 331-352; Yuen, Biometrika 61, 1974, 165-170
for two sets), times the root of the integrated autocorrelation where rounds depend on each other.
In fewer than some 50 rounds that dependence is often not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.runtime.bench.statistics.dependence import (
    LEAST_EFFECTIVE,
    SHARE_OF_TERMS,
    Series,
    integrated_autocorrelation,
    is_dependent,
    student_t_quantile,
)

_TRIMMED: Final = 0.2
"""Share of each side. On normal noise the interval is then some 5 % wider than that of the mean."""
_LEAST: Final = 3


@dataclass(frozen=True)
class Ratio:
    """The time of the second over that of the first.

    Attributes:
        value: Above 1: the second is slower.
        log_standard_error: Standard error of its logarithm; infinite where the rounds are too few.
        degrees_of_freedom: Degrees of freedom of that error.
        effective: How many independent rounds (of the smaller set) it stands on.
    """

    value: float
    log_standard_error: float
    degrees_of_freedom: float
    effective: int

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Return the ends of the interval, by Student's t; None where the rounds are too few.

        Args:
            alpha: How often such intervals miss the true ratio, half of it on each side.
        """
        if math.isinf(self.log_standard_error):
            return None
        half = student_t_quantile(self.degrees_of_freedom, alpha) * self.log_standard_error
        return self.value * math.exp(-half), self.value * math.exp(half)


def paired_ratio(first_ms: Sequence[float], second_ms: Sequence[float]) -> Ratio:
    """Compare runners that took turns: what slows a round slows both, and cancels.

    Args:
        first_ms: One time a round, at least one; of several in a round their median.
        second_ms: Of the same rounds, in the same order.
    """
    one = _TrimmedMean.of(np.log(np.asarray(second_ms) / np.asarray(first_ms)))
    return Ratio(
        math.exp(one.value), math.sqrt(one.variance), one.degrees_of_freedom, one.effective
    )


def unpaired_ratio(first_ms: Sequence[float], second_ms: Sequence[float]) -> Ratio:
    """Compare times of different runs, as with a stored baseline.

    The interval knows the scatter within the two runs, not what has changed on the machine between
    them.
    """
    first, second = (_TrimmedMean.of(np.log(np.asarray(one))) for one in (first_ms, second_ms))
    variance = first.variance + second.variance
    # Welch (Biometrika 34, 1947, 28-35)
    parts = ((one.variance**2, one.degrees_of_freedom) for one in (first, second))
    uncertain = sum(squared / df for squared, df in parts)
    df = variance**2 / uncertain if 0 < uncertain < math.inf else 1.0
    effective = min(first.effective, second.effective)
    return Ratio(math.exp(second.value - first.value), math.sqrt(variance), df, effective)


@dataclass(frozen=True)
class _TrimmedMean:
    """A trimmed mean, its variance (infinite: too few values), and the degrees of freedom of that.

    `effective` is the effective sample size.
    """

    value: float
    variance: float
    degrees_of_freedom: float
    effective: int

    @classmethod
    def of(cls, values: Series) -> _TrimmedMean:
        """Take the trimmed mean of values in the order in which they were measured."""
        count = len(values)
        cut = int(_TRIMMED * count)
        ordered = np.sort(values)
        centre = float(ordered[cut : count - cut].mean())
        # The error of a trimmed mean follows from values that are moved in to the last one kept.
        winsorized = np.clip(values, ordered[cut], ordered[count - cut - 1])
        tau = integrated_autocorrelation(winsorized) if is_dependent(values) else 1.0
        effective = count / tau
        least = LEAST_EFFECTIVE if tau > 1 else _LEAST
        if effective < least:
            return cls(centre, math.inf, 1.0, int(effective))
        kept = count - 2 * cut
        variance = tau * float(np.sum((winsorized - winsorized.mean()) ** 2)) / (kept * (kept - 1))
        df = kept - 1.0
        if tau != 1:
            df = df / tau / 2 if tau > 1 else count / SHARE_OF_TERMS
        return cls(centre, variance, df, int(effective))
