import threading

import numpy as np
import pytest

from darnet_trt.runtime.bench.scenarios.limit import Limit, judge
from darnet_trt.runtime.bench.scenarios.server import arrivals_ns, server, server_result
from darnet_trt.runtime.bench.subject import Trace
from tests.runtime.bench.scenarios import queueing
from tests.runtime.bench.scenarios.simulated import SimulatedClock


def asked(streams: int, *, ms: float = 10, **words):
    clock, trace = SimulatedClock(), Trace("stub")
    ended = server([clock.takes(ms)] * streams, trace.queries, clock=clock, **words)
    return ended, trace, clock


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_latencies_are_those_of_the_queue_with_random_arrivals_and_a_fixed_service(load):
    ended, trace, _ = asked(1, rate_per_s=100 * load, seconds=1000)

    waits = np.array(trace.latencies_ms) / 10 - 1
    assert ended == "done"
    assert waits.mean() == pytest.approx(load / 2 / (1 - load), rel=0.05)
    for share in (0.9, 0.99):
        expected = queueing.wait_quantile(share, load)
        assert np.quantile(waits, share) == pytest.approx(expected, rel=0.07)


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_each_query_waits_for_the_first_stream_that_is_free(streams):
    _, trace, _ = asked(streams, rate_per_s=70 * streams, seconds=20, seed=3)

    due = arrivals_ns(70 * streams, 20, 3)
    assert [query.due_ns for query in trace.queries] == due.tolist()
    expected = queueing.latencies(due, 10e6, streams) / 1e6
    assert trace.latencies_ms == pytest.approx(expected)


def test_one_stall_delays_all_that_come_during_it():
    clock, trace = SimulatedClock(), Trace("stub")
    times = iter([1000.0])
    server(
        [clock.takes(lambda: next(times, 1.0))],
        trace.queries,
        rate_per_s=100,
        seconds=10,
        clock=clock,
    )

    slow = sum(latency > 500 for latency in trace.latencies_ms)
    assert slow > 30  # from their start, one query is slow


def test_overload_ends_early():
    ended, trace, clock = asked(2, rate_per_s=400, seconds=1000)

    assert ended == "overloaded"
    assert clock.now_ns() < 5e9
    result = server_result(trace, rate_per_s=400, streams=2, ended=ended)
    assert result.overloaded
    assert result.load == pytest.approx(2)


def test_a_high_load_is_no_overload():
    ended, trace, _ = asked(1, rate_per_s=95, seconds=200)

    assert ended == "done"
    result = server_result(trace, rate_per_s=95, streams=1, ended=ended)
    assert result.load == pytest.approx(0.95)
    assert not judge(trace.latencies_ms, Limit(latency_ms=20)).met


def test_at_least_one_query_comes():
    _, trace, _ = asked(1, rate_per_s=0.001, seconds=1)

    assert len(trace.queries) == 1


def test_a_look_ends_the_run():
    seen = []

    def look(passed: float) -> bool:
        seen.append(passed)
        return passed > 0.5

    ended, _, _ = asked(1, rate_per_s=50, seconds=10, look=look)

    assert ended == "decided"
    assert seen == sorted(seen)
    assert 0.5 < seen[-1] < 0.6


def test_an_interruption_keeps_what_was_answered():
    clock, trace = SimulatedClock(), Trace("stub")
    answers = iter([1.0, 1.0])

    def ms() -> float:
        try:
            return next(answers)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        server([clock.takes(ms)], trace.queries, rate_per_s=10, seconds=10, clock=clock)

    assert len(trace.queries) == 2


def test_streams_answer_side_by_side_by_the_machine_s_clock():
    trace, together = Trace("stub"), threading.Barrier(2, timeout=30)

    def stream():
        first = [together]
        return lambda: first.pop().wait() if first else None

    ended = server([stream(), stream()], trace.queries, rate_per_s=500, seconds=0.1)

    assert ended == "done"
    due_ns = np.array(sorted(query.due_ns for query in trace.queries))
    assert np.array_equal(np.diff(due_ns), np.diff(arrivals_ns(500, 0.1, 0)))
    assert all(query.started_ns >= query.due_ns for query in trace.queries)
