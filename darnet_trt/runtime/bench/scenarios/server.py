"""Ask at random times, as many users do who know nothing of each other.

MLPerf's server scenario: queries arrive as a Poisson process, wait for a free stream, first come
first served, and must be answered within a limit with a given percentile. The latency of a query
counts from when it was due. To count from its start would leave out the waiting, which is most of
it at a high load (coordinated omission).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np

from darnet_trt.runtime.bench.part import Part, Rounded
from darnet_trt.runtime.bench.scenarios.clock import MACHINE, Ask, Clock, Stream
from darnet_trt.runtime.bench.subject import Query, Trace

Ended = Literal["done", "overloaded", "decided"]
"""How a run ended: as planned; early, because the queue grew without end; early, because the look
at it said so."""

_BEHIND: Final = 20
"""Service times that a query may wait before the streams can be called overloaded."""


class ServerResult(Part):
    """What a rate of random arrivals gave.

    Attributes:
        rate_per_s: Queries a second, on average, as they were due.
        load: The time that the queries need, as a share of the streams' time; from 1 on the queue
            grows without end.
        overloaded: Whether the queue grew without end. The measurement ended then: the latencies
            are those so far, and would have grown on.
    """

    rate_per_s: Rounded
    load: Rounded
    overloaded: bool


def server(
    streams: Sequence[Ask],
    queries: list[Query],
    *,
    rate_per_s: float,
    seconds: float,
    seed: int = 0,
    turn: int = 0,
    look: Callable[[float], bool] = lambda passed: False,
    clock: Clock = MACHINE,
) -> Ended:
    """Answer queries as they come for a time, and those that then wait.

    Args:
        streams: Each is asked by one thread.
        queries: Filled while measuring, so that an interruption loses nothing: of a `Trace`.
        rate_per_s: Queries a second, on average.
        seconds: No query comes after this time; one comes at least.
        seed: Draws the arrivals.
        turn: Of the queries.
        look: Called by the first stream after each of its queries, with the part of the time that
            has passed; True ends the run.
        clock: By which they run.
    """
    begin_ns = clock.now_ns()
    # Threads share the iterator; taking the next of an array is one step of the interpreter.
    due = iter((begin_ns + arrivals_ns(rate_per_s, seconds, seed)).tolist())
    ends: list[Ended] = []

    def stream(number: int, ask: Ask) -> Stream:
        busy_ns, kept_up = [0], 0  # all services so far; the last query that had hardly to wait
        while not ends and (due_ns := next(due, None)) is not None:
            yield due_ns
            start_ns = clock.now_ns()
            ask()
            done_ns = clock.now_ns()
            queries.append(Query(turn, due_ns, start_ns, done_ns))
            busy_ns.append(busy_ns[-1] + done_ns - start_ns)
            answered = len(busy_ns) - 1
            half = answered // 2
            # Of the second half: after a stall the queue is long too, but grows no longer.
            service_ns = (busy_ns[-1] - busy_ns[half]) / (answered - half)
            behind_ns = start_ns - due_ns
            if behind_ns < service_ns:
                kept_up = answered
            grows = rate_per_s * service_ns / 1e9 > len(streams)
            if grows and behind_ns > _BEHIND * service_ns and kept_up <= half:
                ends.append("overloaded")
            elif number == 0 and look(min((done_ns - begin_ns) / 1e9 / seconds, 1.0)):
                ends.append("decided")
            yield done_ns

    try:
        clock.run([stream(number, ask) for number, ask in enumerate(streams)])
    finally:
        queries.sort(key=lambda query: query.started_ns)
    return ends[0] if ends else "done"


def arrivals_ns(rate_per_s: float, seconds: float, seed: int) -> np.typing.NDArray[np.int64]:
    """Draw when queries come: a Poisson process, from 0, in ns."""
    rng = np.random.default_rng(seed)
    count = max(int(rng.poisson(rate_per_s * seconds)), 1)
    return np.sort(rng.uniform(0, seconds * 1e9, count)).astype(np.int64)


def server_result(trace: Trace, *, rate_per_s: float, streams: int, ended: Ended) -> ServerResult:
    """Return what a trace of `server` shows; it has one query at least."""
    service_ns = math.fsum(one.done_ns - one.started_ns for one in trace.queries)
    return ServerResult(
        rate_per_s=rate_per_s,
        load=rate_per_s * service_ns / len(trace.queries) / 1e9 / streams,
        overloaded=ended == "overloaded",
    )
