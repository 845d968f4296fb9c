import threading

import numpy as np
import pytest

from darnet_trt.runtime.bench.scenarios.offline import (
    offline,
    throughput,
    turn_rates,
)
from darnet_trt.runtime.bench.subject import Query, Trace
from tests.runtime.bench.scenarios.simulated import SimulatedClock


def test_the_throughput_of_streams_adds_up():
    clock, trace = SimulatedClock(), Trace("stub", scans=4)
    offline([clock.takes(10), clock.takes(20)], trace.queries, seconds=30, clock=clock)

    assert throughput(trace.queries, 4, 2).per_s == pytest.approx(4 * (100 + 50), rel=1e-3)


def test_the_run_s_cut_does_not_count():
    clock, trace = SimulatedClock(), Trace("stub")
    offline([clock.takes(10), clock.takes(990)], trace.queries, seconds=1, clock=clock)

    assert throughput(trace.queries, 1, 2).per_s == pytest.approx(100 + 1 / 0.99, rel=0.01)


def test_the_interval_holds_the_true_throughput():
    held = []
    for seed in range(200):
        rng, clock, trace = np.random.default_rng(seed), SimulatedClock(), Trace("stub")
        stub = clock.takes(lambda rng=rng: rng.gamma(4, 2.5))
        offline([stub, stub], trace.queries, seconds=2, clock=clock)
        found = throughput(trace.queries, 1, 2)
        if found.low_per_s is not None and found.high_per_s is not None:
            held.append(found.low_per_s < 200 < found.high_per_s)

    assert len(held) > 180
    assert 0.9 < np.mean(held) < 0.99


def test_no_interval_reaches_below_0():
    low = []
    for seed in range(200):
        rng, clock, trace = np.random.default_rng(seed), SimulatedClock(), Trace("stub")
        stub = clock.takes(lambda rng=rng: 10 * rng.pareto(0.8))
        offline([stub], trace.queries, seconds=1, clock=clock)
        found = throughput(trace.queries, 1, 1)
        if found.low_per_s is not None and found.high_per_s is not None:
            low.append(found.low_per_s)
            assert found.low_per_s < found.per_s < found.high_per_s

    assert min(low) > 0


def test_turns_are_measured_apart():
    clock, trace = SimulatedClock(), Trace("stub")
    for turn in range(5):
        offline([clock.takes(10)], trace.queries, seconds=0.5, turn=turn, clock=clock)
        clock.takes(5000)()

    assert throughput(trace.queries, 1, 1).per_s == pytest.approx(100)
    assert turn_rates(trace.queries, 1, 1) == pytest.approx([100] * 5)


def test_the_first_answers_of_a_turn_do_not_count():
    clock, trace = SimulatedClock(), Trace("stub")
    times = iter([300.0, 300.0])
    stubs = [clock.takes(lambda: next(times, 10.0))] * 2
    offline(stubs, trace.queries, seconds=0.5, clock=clock)

    assert throughput(trace.queries, 1, 2).per_s == pytest.approx(200)


def test_a_run_that_slows_down_gets_no_interval():
    clock, trace = SimulatedClock(), Trace("stub")
    rng = np.random.default_rng(0)
    slower = clock.takes(lambda: 10 + len(trace.queries) / 20 + rng.random() / 10)
    offline([slower], trace.queries, seconds=3, clock=clock)

    found = throughput(trace.queries, 1, 1)
    assert found.drift.verdict == "drifting"
    assert found.low_per_s is None


def test_one_query_gives_a_throughput_without_an_interval():
    found = throughput([Query(0, 0, 0, 2_000_000_000)], 8, 1)

    assert (found.per_s, found.low_per_s) == (4, None)


def test_streams_run_side_by_side_by_the_machine_s_clock():
    both = threading.Barrier(2, timeout=30)
    trace = Trace("stub")

    offline([both.wait, both.wait], trace.queries, seconds=0)

    assert len(trace.queries) == 2


def test_a_failure_of_one_stream_ends_the_others_and_is_raised():
    trace, both = Trace("stub"), threading.Barrier(2, timeout=30)
    failed = threading.Event()

    def fails() -> None:
        both.wait()
        failed.set()
        raise ValueError("broken")

    def works() -> None:
        if not failed.is_set():
            both.wait()

    with pytest.raises(ValueError, match="broken"):
        offline([works, fails], trace.queries, seconds=600)

    assert trace.queries
