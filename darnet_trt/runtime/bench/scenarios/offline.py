"""Measure throughput: batches one after the other, on one stream or several side by side.

MLPerf's offline scenario: all samples are there, and the system takes them as it likes. With
several streams these are clients too, each of which asks again as soon as it is answered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from darnet_trt.runtime.bench.report.part import Part
from darnet_trt.runtime.bench.scenarios.clock import MACHINE, Ask, Clock, Stream
from darnet_trt.runtime.bench.statistics.dependence import student_t_quantile
from darnet_trt.runtime.bench.statistics.drift import Drift, drift
from darnet_trt.runtime.bench.statistics.quantiles import ALPHA, Summary, summarise
from darnet_trt.runtime.bench.subject import Query, Trace

_WINDOWS: Final = 20
"""Parts of the run whose throughputs are compared. Ten to thirty are as good as any number
(Schmeiser, Operations Research 30, 1982, 556-568)."""
_LEAST_WINDOWS: Final = 3


class Throughput(Part):
    """Scans a second, with a 95 % interval.

    Attributes:
        per_s: Scans a second while all streams were busy.
        low_per_s: None where the run is too short, or drifts.
        high_per_s: As `low_per_s`.
        drift: Whether the time of a query drifts.
    """

    per_s: float
    low_per_s: float | None
    high_per_s: float | None
    drift: Drift


class OfflineResult(Part):
    """What batches one after the other gave.

    Attributes:
        streams: Their number.
        scans: Scans of a query: the batch.
        throughput: Of all streams together.
        latency: Of a query.
    """

    streams: int
    scans: int
    throughput: Throughput
    latency: Summary


def offline(
    streams: Sequence[Ask],
    queries: list[Query],
    *,
    seconds: float,
    turn: int = 0,
    clock: Clock = MACHINE,
) -> None:
    """Keep all streams busy for a time; each asks one query at least.

    Args:
        streams: Each is asked by one thread.
        queries: Filled while measuring, so that an interruption loses nothing: of a `Trace`.
        seconds: Start no query after this time.
        turn: Of the queries; several configurations may take turns.
        clock: By which they run.
    """
    until_ns = clock.now_ns() + seconds * 1e9

    def stream(ask: Ask) -> Stream:
        done_ns = 0
        while done_ns < until_ns:
            start_ns = clock.now_ns()
            ask()
            done_ns = clock.now_ns()
            queries.append(Query(turn, start_ns, start_ns, done_ns))
            yield done_ns

    try:
        clock.run([stream(ask) for ask in streams])
    finally:
        queries.sort(key=lambda query: query.started_ns)


def offline_result(trace: Trace, streams: int) -> OfflineResult:
    """Return what a trace of `offline`, or of `in_turns`, shows; it has one query at least."""
    return OfflineResult(
        streams=streams,
        scans=trace.scans,
        throughput=throughput(trace.queries, trace.scans, streams),
        latency=summarise(trace.latencies_ms),
    )


def throughput(queries: Sequence[Query], scans: int, streams: int) -> Throughput:
    """Return the throughput of streams that were kept busy.

    A query that began before a window, or ended after it, counts by its part within. A window ends
    with its turn when the first stream has nothing more to do: what the others still work at then
    says how the run was cut, not how fast it is.

    Args:
        queries: In the order of their starts, one at least.
        scans: Scans of a query.
        streams: How many were busy at a time.
    """
    turns: dict[int, list[Query]] = {}
    for query in queries:
        turns.setdefault(query.turn, []).append(query)
    each = max(_WINDOWS // len(turns), 1)
    rates, lengths = [], []
    for turn in turns.values():
        start = np.array([query.started_ns for query in turn], dtype=np.float64)
        done = np.array([query.done_ns for query in turn], dtype=np.float64)
        # The last query of each stream ends among the last ones of all.
        begin, end = start[0], np.sort(done)[-streams:][0]
        count = max(min(each, len(turn) // (2 * streams)), 1)
        for low, high in _between(np.linspace(begin, end, count + 1)):
            within = np.clip(np.minimum(done, high) - np.maximum(start, low), 0, None)
            share = float(np.sum(within / np.maximum(done - start, 1)))
            rates.append(scans * share / max(high - low, 1) * 1e9)
            lengths.append(high - low)
    # All windows count by their length: a turn may be longer than another.
    found = np.array(rates)
    mean = float(np.average(found, weights=lengths))
    moving = drift(np.array([query.done_ns - query.started_ns for query in queries], np.float64))
    half = None
    if len(found) >= _LEAST_WINDOWS and moving.verdict != "drifting":
        error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
        half = student_t_quantile(len(found) - 1, ALPHA) * error
    return Throughput(
        per_s=mean,
        low_per_s=None if half is None else mean - half,
        high_per_s=None if half is None else mean + half,
        drift=moving,
    )


def _between(edges: np.typing.NDArray[np.float64]) -> list[tuple[float, float]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
