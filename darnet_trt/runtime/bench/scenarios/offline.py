"""Measure throughput: batches one after the other, on one stream or several side by side.

MLPerf's offline scenario: all samples are there, and the system takes them as it likes. With
several streams these are clients too, each of which asks again as soon as it is answered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.runtime.bench.scenarios.clock import MACHINE, Ask, Clock, Stream
from darnet_trt.runtime.bench.statistics.dependence import student_t_quantile
from darnet_trt.runtime.bench.statistics.drift import Drift, drift
from darnet_trt.runtime.bench.statistics.quantiles import ALPHA
from darnet_trt.runtime.bench.subject import Query

_WINDOWS: Final = 20
"""Parts of the run whose throughputs are compared. Ten to thirty are as good as any number
(Schmeiser, Operations Research 30, 1982, 556-568)."""
_LEAST_WINDOWS: Final = 3


@dataclass(frozen=True)
class Throughput:
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


def throughput(queries: Sequence[Query], scans: int, streams: int) -> Throughput:
    """Return the throughput of streams that were kept busy.

    A query that began before a window, or ended after it, counts by its part within. A window ends
    with its turn when the first stream has nothing more to do: what the others still work at then
    says how the run was cut, not how fast it is. The time until the first answer of a turn is left
    out where the turn has enough others.

    Args:
        queries: In the order of their starts, one at least.
        scans: Scans of a query.
        streams: How many were busy at a time.
    """
    turns = _by_turn(queries)
    each = max(_WINDOWS // len(turns), 1)
    windows = [window for turn in turns for window in _windows(turn, scans, streams, each)]
    rates, lengths = zip(*windows, strict=True)
    # All windows count by their length: a turn may be longer than another.
    found = np.array(rates)
    mean = float(np.average(found, weights=lengths))
    moving = drift(np.array([query.done_ns - query.started_ns for query in queries], np.float64))
    spread = None
    if len(found) >= _LEAST_WINDOWS and moving.verdict != "drifting":
        error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
        # Of the logarithm: no throughput is below 0.
        spread = math.exp(student_t_quantile(len(found) - 1, ALPHA) * error / mean)
    return Throughput(
        per_s=mean,
        low_per_s=None if spread is None else mean / spread,
        high_per_s=None if spread is None else mean * spread,
        drift=moving,
    )


def turn_rates(queries: Sequence[Query], scans: int, streams: int) -> list[float]:
    """Return the scans a second of each turn, to pair with another configuration's.

    Args:
        queries: As of `throughput`, or none.
        scans: As of `throughput`.
        streams: As of `throughput`.
    """
    return [_windows(turn, scans, streams, 1)[0][0] for turn in _by_turn(queries)]


def _by_turn(queries: Sequence[Query]) -> list[list[Query]]:
    turns: dict[int, list[Query]] = {}
    for query in queries:
        turns.setdefault(query.turn, []).append(query)
    return list(turns.values())


def _windows(
    turn: Sequence[Query], scans: int, streams: int, most: int
) -> list[tuple[float, float]]:
    """Return the scans a second and the length in ns of a turn's windows."""
    start = np.array([query.started_ns for query in turn], dtype=np.float64)
    done = np.array([query.done_ns for query in turn], dtype=np.float64)
    # The last query of each stream ends among the last ones of all.
    begin, end = start[0], np.sort(done)[-streams:][0]
    if len(turn) >= 2 * streams:  # the first ones are slower, after a pause
        begin = min(np.min(done[:streams]), end)
    found = []
    count = max(min(most, len(turn) // (2 * streams)), 1)
    for low, high in _between(np.linspace(begin, end, count + 1)):
        within = np.clip(np.minimum(done, high) - np.maximum(start, low), 0, None)
        share = float(np.sum(within / np.maximum(done - start, 1)))
        found.append((scans * share / max(high - low, 1) * 1e9, high - low))
    return found


def _between(edges: np.typing.NDArray[np.float64]) -> list[tuple[float, float]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
