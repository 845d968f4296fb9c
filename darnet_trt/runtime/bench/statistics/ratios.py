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
    students_factor,
)

_TRIMMED: Final = 0.2
"""Of each side. On normal noise the interval is then some 5 % wider than that of the mean."""
_LEAST: Final = 3


@dataclass(frozen=True)
class Ratio:
    """The time of the second over that of the first.

    Attributes:
        value: Above 1: the second is slower.
        log_error: Standard error of its logarithm; infinite where the rounds are too few.
        freedom: Degrees of freedom of that error.
        effective: How many independent rounds (of the smaller set) it stands on.
    """

    value: float
    log_error: float
    freedom: float
    effective: int

    def interval(self, misses: float = 0.05) -> tuple[float, float] | None:
        """Return the ends of the interval, by Student's t; None where the rounds are too few.

        Args:
            misses: How often such intervals miss the true ratio, half of it on each side.
        """
        if math.isinf(self.log_error):
            return None
        half = students_factor(self.freedom, misses) * self.log_error
        return self.value * math.exp(-half), self.value * math.exp(half)


def paired_ratio(first_ms: Sequence[float], second_ms: Sequence[float]) -> Ratio:
    """Compare runners that took turns: what slows a round slows both, and cancels.

    Args:
        first_ms: One time a round, at least one; of several in a round their median.
        second_ms: Of the same rounds, in the same order.
    """
    one = _Centre.of(np.log(np.asarray(second_ms) / np.asarray(first_ms)))
    return Ratio(math.exp(one.value), math.sqrt(one.variance), one.freedom, one.effective)


def unpaired_ratio(first_ms: Sequence[float], second_ms: Sequence[float]) -> Ratio:
    """Compare times of different runs, as with a stored baseline.

    The interval knows the scatter within the two runs, not what has changed on the machine between
    them.
    """
    first, second = (_Centre.of(np.log(np.asarray(one))) for one in (first_ms, second_ms))
    variance = first.variance + second.variance
    # Welch (Biometrika 34, 1947, 28-35)
    parts = ((one.variance**2, one.freedom) for one in (first, second))
    uncertain = sum(squared / freedom for squared, freedom in parts)
    freedom = variance**2 / uncertain if 0 < uncertain < math.inf else 1.0
    effective = min(first.effective, second.effective)
    return Ratio(math.exp(second.value - first.value), math.sqrt(variance), freedom, effective)


@dataclass(frozen=True)
class _Centre:
    """A trimmed mean, its variance (infinite: too few values) and that one's freedom."""

    value: float
    variance: float
    freedom: float
    effective: int

    @classmethod
    def of(cls, values: Series) -> _Centre:
        """Take the trimmed mean of values in the order in which they were measured."""
        count = len(values)
        cut = int(_TRIMMED * count)
        ordered = np.sort(values)
        centre = float(ordered[cut : count - cut].mean())
        # What a trimmed mean does with a value is to pull it in to the last one that is kept.
        pulled = np.clip(values, ordered[cut], ordered[count - cut - 1])
        tau = integrated_autocorrelation(pulled) if is_dependent(values) else 1.0
        effective = count / tau
        least = LEAST_EFFECTIVE if tau > 1 else _LEAST
        if effective < least:
            return cls(centre, math.inf, 1.0, int(effective))
        kept = count - 2 * cut
        variance = tau * float(np.sum((pulled - pulled.mean()) ** 2)) / (kept * (kept - 1))
        freedom = kept - 1.0
        if tau != 1:
            freedom = freedom / tau / 2 if tau > 1 else count / SHARE_OF_TERMS
        return cls(centre, variance, freedom, int(effective))
