"""Say by how much one runner is slower than another, with an interval.

The ratio is that of a typical round: exp of the mean of log(second / first) without its lowest and
highest fifth. A burst of another process that hits some rounds does not move it; where only the
speed differs and not the scatter, it is the ratio of the medians as well. Its error is that of a
trimmed mean (Tukey and McLaughlin, Sankhya A 25, 1963, 331-352), times the root of the integrated
autocorrelation where rounds depend on each other. In fewer than some 50 rounds that dependence is
often not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.runtime.bench.statistics.dependence import (
    SHARE_OF_TERMS,
    Series,
    integrated_autocorrelation,
    is_dependent,
    student_t_quantile,
)

_TRIMMED: Final = 0.2
"""Share of each side. On normal noise the interval is then some 5 % wider than that of the mean."""
_LEAST: Final = 3
_LEAST_DEPENDENT: Final = 30
"""Effective rounds that an interval takes where rounds are dependent."""


@dataclass(frozen=True)
class Ratio:
    """The time of the second over that of the first.

    Attributes:
        value: Above 1: the second is slower.
        log_standard_error: Standard error of its logarithm; infinite where the rounds are too few.
        degrees_of_freedom: Degrees of freedom of that error.
        effective: How many independent rounds it stands on.
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
    values: Series = np.log(np.asarray(second_ms) / np.asarray(first_ms))
    count = len(values)
    cut = int(_TRIMMED * count)
    ordered = np.sort(values)
    centre = math.exp(float(ordered[cut : count - cut].mean()))
    # The error of a trimmed mean follows from values that are moved in to the last one kept.
    winsorized = np.clip(values, ordered[cut], ordered[count - cut - 1])
    tau = integrated_autocorrelation(winsorized) if is_dependent(values) else 1.0
    effective = count / tau
    if effective < (_LEAST_DEPENDENT if tau > 1 else _LEAST):
        return Ratio(centre, math.inf, 1.0, int(effective))
    kept = count - 2 * cut
    variance = tau * float(np.sum((winsorized - winsorized.mean()) ** 2)) / (kept * (kept - 1))
    df = kept - 1.0
    if tau != 1:
        df = df / tau / 2 if tau > 1 else count / SHARE_OF_TERMS
    return Ratio(centre, math.sqrt(variance), df, int(effective))
