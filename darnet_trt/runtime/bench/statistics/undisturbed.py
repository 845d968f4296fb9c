"""Compare runs by what each took where nothing disturbed it.

Between two runs other processes come and go. Their bursts lengthen some queries, and how many is
chance: means and medians follow it. Nothing shortens a query. So a run is known by its 20th
percentile: the time of the undisturbed queries, where these are a fifth or more.
Chen and Revels (Robust benchmarking in noisy environments, arXiv 1608.04295) take the minimum for
the same reason; a quantile has an interval.

The intervals of the runs are joined by Zou and Donner's method (Statistics in Medicine 27, 2008,
1693-1702). They know the scatter within the runs, not what has changed on the machine between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.runtime.bench.statistics.dependence import (
    integrated_autocorrelation,
    is_dependent,
)
from darnet_trt.runtime.bench.statistics.quantiles import below, bounds, samples_needed

_SHARE: Final = 0.2


@dataclass(frozen=True)
class UndisturbedRatio:
    """How many times as long something takes in one run as in another.

    Attributes:
        numerators: Latencies, in order, to which the ratio is proportional: those of the one run,
            and of the other's yardstick.
        denominators: Those to which it is inversely proportional.
    """

    numerators: Sequence[Sequence[float]]
    denominators: Sequence[Sequence[float]]

    @property
    def value(self) -> float:
        """Return the ratio."""
        return math.exp(self._log())

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Return the ends of the interval; None where the queries are too few.

        Args:
            alpha: How often such intervals miss the true ratio, half of it on each side.
        """
        log, lower, upper = self._log(), 0.0, 0.0
        for sign, runs in ((1, self.numerators), (-1, self.denominators)):
            for times in runs:
                ends = _ends(times, alpha)
                if ends is None:
                    return None
                value = _log_low(times)
                down, up = ((value - ends[0]), (ends[1] - value))[::sign]
                lower, upper = lower + down**2, upper + up**2
        return math.exp(log - math.sqrt(lower)), math.exp(log + math.sqrt(upper))

    def _log(self) -> float:
        return sum(map(_log_low, self.numerators)) - sum(map(_log_low, self.denominators))


def queries_needed(alpha: float) -> int:
    """Return how many independent queries an interval takes; `alpha` as of `interval`."""
    return samples_needed(100 * _SHARE, alpha)


def queries_worth(times: Sequence[float]) -> int:
    """Return how many independent queries those of a run are worth, for its 20th percentile.

    Args:
        times: Their latencies, in order.
    """
    values = np.asarray(times, dtype=np.float64)
    if not is_dependent(values):
        return len(values)
    tau = integrated_autocorrelation(below(values, np.sort(values), _SHARE))
    return min(int(len(values) / tau), len(values))


def _log_low(times: Sequence[float]) -> float:
    return math.log(float(np.quantile(times, _SHARE, method="inverted_cdf")))


def _ends(times: Sequence[float], alpha: float) -> tuple[float, float] | None:
    """Return the ends of the interval of the quantile's logarithm, from order statistics."""
    effective = queries_worth(times)
    if effective < queries_needed(alpha):
        return None
    return bounds(np.sort(np.log(np.asarray(times, dtype=np.float64))), effective, _SHARE, alpha)
