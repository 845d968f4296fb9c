"""Give quantiles of times with 95 % intervals, or the number of samples that they would take.

The ends of an interval are order statistics: how many of n samples lie below the true quantile is
binomial, whatever the distribution. Between two of them the end is interpolated, so that the
interval covers 95 % and not more (Nyblom, Statistics & Probability Letters 14, 1992, 129-131).
Samples that depend on each other count as fewer: n is divided by the integrated autocorrelation of
"lies below the quantile", and made smaller still because that is an estimate (Korn and Graubard,
Survey Methodology 24, 1998, 193-201).

A drifting runner has no true quantile, and gets no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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
from darnet_trt.runtime.bench.statistics.drift import Drift, drift

PERCENTS: Final = (50.0, 90.0, 95.0, 99.0)
ALPHA: Final = 0.05
"""Share of 95 % intervals that may miss the true quantile."""

_MARGIN: Final = 2
"""So many times `needed` more, where samples are worth half their number or less (and less where
they are worth more): nearer to the last sample their effective number is estimated too high, and
the interval too narrow."""
_NORMAL_975: Final = 1.959964


@dataclass(frozen=True)
class Quantile:
    """A quantile and its 95 % interval.

    Attributes:
        percent: 50 is the median.
        value_ms: The smallest sample that `percent` % do not exceed; the mean of two for a median
            that lies between them. None without an interval, except for the median.
        low_ms: None where the samples give no interval.
        high_ms: As `low_ms`.
        needed: Samples that an interval takes, of a steady runner whose samples depend on each
            other as these do.
    """

    percent: float
    value_ms: float | None
    low_ms: float | None
    high_ms: float | None
    needed: int


@dataclass(frozen=True)
class Summary:
    """The quantiles of a runner's times.

    Attributes:
        samples: Their number.
        effective: Effective sample size: how many independent samples they are worth. It is
            `samples` where no dependence is seen, and may be larger where they alternate.
        drift: Whether the runner drifts. Then no quantile has an interval.
        quantiles: One for each percent asked for.
    """

    samples: int
    effective: int
    drift: Drift
    quantiles: tuple[Quantile, ...]


def summarise(samples_ms: Sequence[float], percents: Sequence[float] = PERCENTS) -> Summary:
    """Return quantiles with intervals.

    Args:
        samples_ms: At least one, in the order in which they were measured.
        percents: Between 0 and 100.
    """
    samples = np.asarray(samples_ms, dtype=np.float64)
    ordered = np.sort(samples)
    dependent = is_dependent(samples)
    tau = integrated_autocorrelation(below(samples, ordered, 0.5)) if dependent else None
    moving = drift(samples)
    found = (_quantile(samples, ordered, one, tau, moving) for one in percents)
    return Summary(len(samples), int(len(samples) / (tau or 1)), moving, tuple(found))


@lru_cache(maxsize=64)
def samples_needed(percent: float, alpha: float = ALPHA) -> int:
    """Return the independent samples that a 95 % interval takes: 6 for the median, 299 for p99.

    So many that the quantile lies beyond all samples, on either side, in at most 5 % of runs, or
    `alpha`.
    """
    share = percent / 100
    count = 1
    while share**count + (1 - share) ** count > alpha:
        count += 1
    return count


def _quantile(
    samples: Series, ordered: Series, percent: float, tau: float | None, moving: Drift
) -> Quantile:
    """Return one quantile; `tau` is the autocorrelation around the median, None if independent."""
    count, share, least = len(samples), percent / 100, samples_needed(percent)
    value = float(np.median(ordered)) if share == 0.5 else _at(ordered, math.ceil(count * share))
    effective, takes = count, least
    if tau is not None:
        own = integrated_autocorrelation(below(samples, ordered, share))
        effective = _effective(count, own, least)
        takes = _takes(max(own, tau), least)
    if takes > count or moving.verdict == "drifting":
        return Quantile(percent, value if share == 0.5 else None, None, None, takes)
    low, high = bounds(ordered, effective, share)
    return Quantile(percent, value, low, high, takes)


def _effective(count: int, tau: float, least: int) -> int:
    """Return how many independent samples dependent ones are worth, with that number's error."""
    # Below 1, tau is the mean of that many squared terms of the spectrum.
    df = count / tau / 2 if tau > 1 else count / SHARE_OF_TERMS
    certain = (_NORMAL_975 / student_t_quantile(max(df, 1.0), ALPHA)) ** 2
    return max(int(count / tau * certain), least if tau > 1 else count)


def _takes(tau: float, least: int) -> int:
    """Return how many dependent samples an interval takes that takes `least` independent ones."""
    if tau <= 1:
        return least
    margin = 1 + _MARGIN * min(tau - 1, 1)
    return math.ceil(tau * max(margin * least, LEAST_EFFECTIVE))


def below(samples: Series, ordered: Series, share: float) -> Series:
    """Return 1 for each sample that does not exceed the quantile, 0 for the others."""
    quantile = ordered[max(math.ceil(len(ordered) * share), 1) - 1]
    return np.asarray(samples <= quantile, dtype=np.float64)


def _at(ordered: Series, place: float) -> float:
    """Return the order statistic at a place from 1 to n, interpolated between two."""
    return float(np.interp(place, np.arange(1, len(ordered) + 1), ordered))


def bounds(
    ordered: Series, effective: int, share: float, alpha: float = ALPHA
) -> tuple[float, float]:
    """Return the ends of the interval of a quantile.

    Args:
        ordered: The samples, sorted.
        effective: How many independent samples they are worth, `samples_needed` or more.
        share: That lies below the quantile.
        alpha: How often the two ends miss it.
    """
    stretched = (len(ordered) - 1) / (effective - 1)
    low, high = (
        _at(ordered, 1 + (place - 1) * stretched) for place in order_places(effective, share, alpha)
    )
    return low, high


@lru_cache(maxsize=4096)
def order_places(count: int, share: float, alpha: float = ALPHA) -> tuple[float, float]:
    """Return which order statistics, 1 to `count`, bound a quantile of independent samples.

    Each end misses it in half of `alpha` of runs. Where the last sample misses it more often, it is
    the end all the same, and the other end makes up for it.

    Args:
        count: Of independent samples, `samples_needed` or more.
        share: That lies below the quantile.
        alpha: How often the two miss it.

    Returns:
        The places, with fractions.
    """
    beyond, before = share**count, (1 - share) ** count
    low_alpha = min(max(alpha / 2, before), alpha - beyond)
    high_alpha = min(max(alpha / 2, beyond), alpha - before)
    below = np.arange(1, count + 1)
    # The chance that exactly k samples lie below the quantile, for k from 0 to the count.
    steps = np.log((count + 1 - below) / below) + math.log(share / (1 - share))
    log_chances = count * math.log1p(-share) + np.concatenate([[0.0], np.cumsum(steps)])
    at_least = np.minimum(np.cumsum(np.exp(log_chances)[::-1])[::-1], 1.0)
    return (
        _place(at_least, 1 - low_alpha, share),
        _place(at_least, high_alpha, share),
    )


def _place(at_least: Series, chance: float, share: float) -> float:
    """Return the place whose order statistic lies below the quantile with this chance.

    `at_least[k]` is the chance for place k (k of the samples or more lie below). Nyblom's equation.
    """
    count = len(at_least) - 1
    place = int(np.searchsorted(-at_least, -chance, "right")) - 1
    if place < 1 or place >= count:
        return float(min(max(place, 1), count))
    part = (at_least[place] - chance) / (at_least[place] - at_least[place + 1])
    if part <= 0:
        return float(place)
    rest = place * (1 - share) * (1 - part) / ((count - place) * share * part)
    return place + 1 / (1 + float(rest))
