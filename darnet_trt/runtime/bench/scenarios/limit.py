"""Judge whether latencies meet a limit, and say how sure that is.

As MLPerf's early stopping does: how many of n queries exceed a limit is binomial. The limit is met
where so few would exceed it in at most `ERROR` of runs, were their true share what is allowed; not
met where so many would. Queries that wait in one queue depend on each other and count as fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from darnet_trt.runtime.bench.part import Part
from darnet_trt.runtime.bench.statistics.dependence import (
    Series,
    integrated_autocorrelation,
    is_dependent,
)

ERROR: Final = 0.01
"""Share of runs at the limit's edge that are called met, and of those called not met: MLPerf's
confidence of 99 %."""


class Limit(Part):
    """A latency that a percentile must not exceed.

    Attributes:
        latency_ms: The limit.
        percent: Of the queries that must keep to it.
    """

    latency_ms: float
    percent: float = 99.0


class Judgement(Part):
    """Whether a limit is met.

    Attributes:
        limit: The limit.
        queries: That were answered.
        over: Of these, those that exceeded it.
        met: Whether the percentile of these queries keeps to it.
        sure: Whether queries without end would say the same, with 99 % certainty.
        needed: Queries that it takes to be sure of a limit that none exceeds.
    """

    limit: Limit
    queries: int
    over: int
    met: bool
    sure: bool
    needed: int


def judge(latencies_ms: Sequence[float], limit: Limit, error: float = ERROR) -> Judgement:
    """Judge latencies.

    Args:
        latencies_ms: At least one, in the order in which the queries came.
        limit: The limit.
        error: Share of wrong answers that may be called sure. Who looks several times shares it
            among the looks.
    """
    latencies = np.asarray(latencies_ms, dtype=np.float64)
    beyond = latencies > limit.latency_ms
    count, over = len(latencies), int(np.sum(beyond))
    worth = _worth(latencies, beyond.astype(np.float64))
    return Judgement(
        limit=limit,
        queries=count,
        over=over,
        met=_is_met(over, count, limit),
        sure=is_sure(over, count, limit, error, worth),
        needed=queries_needed(limit.percent, error, worth),
    )


def queries_needed(percent: float, error: float = ERROR, worth: float = 1.0) -> int:
    """Return how many queries it takes to be sure of a limit that none exceeds.

    Args:
        percent: Of the queries that must keep to it.
        error: As of `judge`.
        worth: As of `is_sure`.
    """
    return math.ceil(worth * math.log(error) / math.log(percent / 100))


def is_sure(over: int, count: int, limit: Limit, error: float, worth: float = 1.0) -> bool:
    """Return whether so many over a limit are clear.

    Args:
        over: Queries that exceeded it.
        count: All.
        limit: The limit.
        error: As of `judge`.
        worth: How many queries are worth one independent one.
    """
    allowed = 1 - limit.percent / 100
    if _is_met(over, count, limit):
        chance = _at_most(math.ceil(over / worth), int(count / worth), allowed)
    else:
        chance = 1 - _at_most(int(over / worth) - 1, math.ceil(count / worth), allowed)
    return chance <= error


def _is_met(over: int, count: int, limit: Limit) -> bool:
    return over <= round((1 - limit.percent / 100) * count, 9)


def _worth(latencies: Series, beyond: Series) -> float:
    """Return how many queries are worth one independent one."""
    if not is_dependent(latencies):
        return 1.0
    below = np.asarray(latencies <= np.median(latencies), dtype=np.float64)
    return max(integrated_autocorrelation(beyond), integrated_autocorrelation(below), 1.0)


def _at_most(over: int, count: int, share: float) -> float:
    """Return the binomial chance of at most so many of a count."""
    if over < 0:
        return 0.0
    over = min(over, count)
    places = np.arange(1, over + 1)
    steps = np.log((count + 1 - places) / places) + math.log(share / (1 - share))
    log_chances = count * math.log1p(-share) + np.concatenate([[0.0], np.cumsum(steps)])
    return min(float(np.sum(np.exp(log_chances))), 1.0)
