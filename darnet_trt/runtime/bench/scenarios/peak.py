"""Search the highest rate of random arrivals that meets a latency limit.

The interval that holds it is halved again and again, as in MLPerf's search. A trial ends as soon as
it is clear, which leaves the time for those near the answer. What time remains goes to rates below
and above the answer, until one of each is certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from darnet_trt.runtime.bench.part import Part, Rounded
from darnet_trt.runtime.bench.scenarios.clock import MACHINE, Ask, Clock
from darnet_trt.runtime.bench.scenarios.limit import (
    ERROR,
    Judgement,
    Limit,
    is_sure,
    judge,
    queries_needed,
)
from darnet_trt.runtime.bench.scenarios.offline import offline, throughput
from darnet_trt.runtime.bench.scenarios.server import server
from darnet_trt.runtime.bench.subject import Query, Trace, latencies_ms

CLOSE: Final = 0.02
"""The search ends when the rates left differ by so much."""

_CAPACITY_SHARE: Final = 0.05
"""Of the time, to see what the streams answer when they never wait: no rate above can be met."""
_ABOVE: Final = 1.1
"""The first bound, over what was seen."""
_BOUNDS_SHARE: Final = 0.4
"""Of the time, to be sure of a rate below the answer and of one above."""
_BELOW: Final = (0.9, 0.75, 0.5)
_BEYOND: Final = (1.1, 1.25, 1.5)
"""Multiples of the answer that are tried for that, until one is certain."""
_LOOKS: Final = 5
"""Looks at a trial; they share its permitted error."""


_RATE_SHARE: Final = (1 - _CAPACITY_SHARE - _BOUNDS_SHARE) / math.ceil(-math.log2(CLOSE))
"""Of the time, for the first rate: none ends early and leaves it more."""

_EASIER: Final = 90.0
"""A percentile that takes a tenth of the queries of p99."""


class Trial(Part):
    """One rate that was tried.

    Attributes:
        rate_per_s: Queries a second, on average.
        overloaded: Whether the queue grew without end.
        judgement: Whether the limit is met.
    """

    rate_per_s: Rounded
    overloaded: bool
    judgement: Judgement

    @property
    def met(self) -> bool:
        """Return whether the limit was met."""
        return self.judgement.met and not self.overloaded

    @property
    def sure(self) -> bool:
        """Return whether that is certain."""
        return self.judgement.sure or self.overloaded


class PeakResult(Part):
    """The highest rate that meets a limit.

    Attributes:
        limit: The limit.
        rate_per_s: The highest rate tried that met it; None: none did.
        at_least_per_s: The highest rate that met it for certain; None: none did.
        at_most_per_s: The lowest rate that did not meet it for certain; None: none.
        trials: In the order in which they were made.
    """

    limit: Limit
    rate_per_s: Rounded | None
    at_least_per_s: Rounded | None
    at_most_per_s: Rounded | None
    trials: tuple[Trial, ...]


def search(
    streams: Sequence[Ask],
    trace: Trace,
    trials: list[Trial],
    limit: Limit,
    *,
    seconds: float,
    seed: int = 0,
    begins: Callable[[float], None] = lambda capacity_per_s: None,
    clock: Clock = MACHINE,
) -> None:
    """Try rates until those left are close together, or the time is up.

    Args:
        streams: Each is asked by one thread.
        trace: Filled while measuring; the turn of a query is the number of its trial, from 0.
        trials: Filled likewise.
        limit: To be met.
        seconds: For all trials together.
        seed: Draws the arrivals.
        begins: Called before the first trial, with the queries a second that the streams answer
            when they never wait.
        clock: By which they run.
    """
    until_ns = clock.now_ns() + seconds * 1e9
    offline(streams, trace.warm_up, seconds=seconds * _CAPACITY_SHARE, clock=clock)
    capacity = throughput(trace.warm_up, 1, len(streams)).per_s
    begins(capacity)
    top = _ABOVE * capacity

    def left_s() -> float:
        return (until_ns - clock.now_ns()) / 1e9

    def tried(rate_per_s: float, for_s: float) -> bool:
        """Try a rate; return whether it met the limit."""
        judged, turn = _Judged(trace.queries, limit), len(trials)
        ended = server(
            streams,
            trace.queries,
            rate_per_s=rate_per_s,
            seconds=for_s,
            seed=seed + turn,
            turn=turn,
            look=judged.early,
            clock=clock,
        )
        overloaded = ended == "overloaded"
        trials.append(Trial(rate_per_s=rate_per_s, overloaded=overloaded, judgement=judged.last()))
        return trials[-1].met

    low, high = 0.0, top
    while high > CLOSE * top and high - low > CLOSE * high:
        halves = math.ceil(math.log2((high - low) / (CLOSE * high)))
        for_s = (left_s() - seconds * _BOUNDS_SHARE) / halves
        if for_s <= 0:
            break
        rate = (low + high) / 2
        low, high = (rate, high) if tried(rate, for_s) else (low, rate)
    for steps in (_BELOW, _BEYOND) if low else ():
        for left, step in zip(range(len(steps), 0, -1), steps, strict=True):
            found = peak_result(trials, limit)
            bound = found.at_least_per_s if step < 1 else found.at_most_per_s
            known = bound is not None and (bound >= step * low) == (step < 1)
            for_s = left_s() / left / (2 if step < 1 else 1)
            if known or for_s <= 0:
                break
            tried(step * low, for_s)


def too_short(limit: Limit, capacity_per_s: float, seconds: float) -> str | None:
    """Say that no rate can be certain, and what would change that; None where one can.

    Queries that queue depend on each other, and take more time than this.

    Args:
        limit: To be met.
        capacity_per_s: Queries a second that the streams answer when they never wait.
        seconds: For the search.
    """
    takes_s = _takes_s(limit.percent, capacity_per_s)
    if takes_s <= seconds:
        return None
    do = f"give --seconds {math.ceil(takes_s)} or more"
    if limit.percent > _EASIER:
        easier_s = math.ceil(_takes_s(_EASIER, capacity_per_s))
        do += f", or --percentile {_EASIER:g}"
        do += f" --seconds {easier_s}" * (easier_s > seconds)
    needed = queries_needed(limit.percent, ERROR / 2)
    return (
        f"to be sure of p{limit.percent:g} takes {needed:,} queries at a rate, and this time has "
        f"room for some {needed * seconds / takes_s:.0f}: {do}"
    )


def _takes_s(percent: float, capacity_per_s: float) -> float:
    return queries_needed(percent, ERROR / 2) / capacity_per_s / _RATE_SHARE


def peak_result(trials: Sequence[Trial], limit: Limit) -> PeakResult:
    """Return what trials show, also those of a search that was interrupted."""
    missed = (one.rate_per_s for one in trials if not one.met and one.sure)
    at_most = min(missed, default=None)
    met = [one for one in trials if one.met and (at_most is None or one.rate_per_s < at_most)]
    return PeakResult(
        limit=limit,
        rate_per_s=max((one.rate_per_s for one in met), default=None),
        at_least_per_s=max((one.rate_per_s for one in met if one.sure), default=None),
        at_most_per_s=at_most,
        trials=tuple(trials),
    )


class _Judged:
    """Looks at a trial while it runs; half of the permitted error is for them, half for the last.

    A look delays the queries that come meanwhile. So the queries over the limit are counted as they
    are answered, and the trial is judged in full only where the count alone is clear.

    Args:
        queries: Those of the trial follow the ones that are there.
        limit: The limit.
    """

    def __init__(self, queries: Sequence[Query], limit: Limit) -> None:
        self._queries, self._limit = queries, limit
        self._first = self._counted = len(queries)
        self._over = self._looks = 0

    def early(self, passed: float) -> bool:
        """Return whether the trial is clear, when a part of its time has passed."""
        new = self._queries[self._counted :]
        self._counted += len(new)
        self._over += sum(one > self._limit.latency_ms for one in latencies_ms(new))
        look = int(passed * _LOOKS)
        if not self._looks < look < _LOOKS:
            return False
        self._looks = look
        error = ERROR / 2 / (_LOOKS - 1)
        count = self._counted - self._first
        return is_sure(self._over, count, self._limit, error) and self._judge(error).sure

    def last(self) -> Judgement:
        """Judge a trial that has ended."""
        return self._judge(ERROR / 2)

    def _judge(self, error: float) -> Judgement:
        return judge(latencies_ms(self._queries[self._first :]), self._limit, error)
