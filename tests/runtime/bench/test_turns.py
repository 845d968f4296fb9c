import pytest

from darnet_trt.runtime.bench.subject import Subject
from darnet_trt.runtime.bench.turns import LEAST_ROUNDS, in_turns
from tests.runtime.bench.clock import Clock


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def named(order, clock, name, ms, **options):
    takes = clock.takes(ms)

    def query():
        order.append(name)
        takes()

    return Subject(name, query, after=lambda: order.append("after"), **options)


def measured(subjects, **limits):
    traces = {}
    in_turns(subjects, traces, **limits)
    return traces


def test_a_turn_of_0_ms_is_one_query(clock):
    order = []
    subjects = [named(order, clock, name, 10, turn_ms=0) for name in ("a", "b")]
    traces = measured(subjects, rounds=3)
    assert order == ["a", "after", "b", "after"] * 4
    assert [len(trace.queries) for trace in traces.values()] == [3, 3]
    assert [len(trace.warm_up) for trace in traces.values()] == [1, 1]


def test_a_turn_asks_until_half_a_second_has_passed_and_does_not_measure_the_first(clock):
    trace = measured([named([], clock, "a", 100)], rounds=2)["a"]
    assert len(trace.queries) == 2 * 4
    assert trace.turns == 2
    assert trace.latencies_ms == [100.0] * 8
    assert len(trace.warm_up) == 5 + 2


def test_a_slow_query_is_a_turn_and_counts(clock):
    trace = measured([named([], clock, "a", 1400)], rounds=3)["a"]
    assert trace.latencies_ms == [1400.0] * 3
    assert len(trace.warm_up) == 1


def test_a_gpus_turn_warms_up_first(clock):
    traces = measured(
        [named([], clock, "gpu", 62.5, on_gpu=True), named([], clock, "cpu", 62.5)],
        rounds=1,
    )
    assert len(traces["gpu"].queries) == len(traces["cpu"].queries) == 7
    assert len(traces["gpu"].warm_up) == len(traces["cpu"].warm_up) + 4


def test_it_warms_up_until_times_settle(clock):
    cold = [30, 20] + [10] * 10000
    steady, slow = clock.takes(10), clock.takes(*cold)
    traces = measured([Subject("steady", steady), Subject("slow", slow)], seconds=30)
    assert traces["steady"].settled
    assert traces["slow"].settled
    assert set(traces["slow"].latencies_ms) == {10.0}


def test_times_that_do_not_settle_take_a_quarter_of_the_time(clock):
    grows = clock.takes(*range(100, 2000, 10))
    trace = measured([Subject("a", grows)], seconds=20)["a"]
    assert not trace.settled
    before = trace.queries[0].started_ns - trace.warm_up[0].started_ns
    assert 4 <= before / 1e9 <= 7


def test_out_of_time_each_still_gets_the_least_rounds(clock):
    trace = measured([named([], clock, "a", 10, turn_ms=0)], seconds=0.001, rounds=30)["a"]
    assert len(trace.queries) == LEAST_ROUNDS


def test_a_look_ends_it(clock):
    parts = []

    def look(traces, passed):
        parts.append(passed)
        return len(traces["a"].queries) == 8

    trace = measured([named([], clock, "a", 100)], seconds=100, look=look)["a"]
    assert trace.turns == len(parts) == 2
    assert 0 <= parts[0] < parts[1] < 1


@pytest.mark.parametrize(
    ("given", "rounds"),
    [({"seconds": 2}, 3), ({"seconds": 0.001}, 3), ({"rounds": 2}, 2)],
)
def test_the_last_look_is_when_all_time_has_passed(clock, given, rounds):
    parts = []
    measured([named([], clock, "a", 100)], look=lambda _, passed: parts.append(passed), **given)
    assert len(parts) == rounds
    assert max(parts[:-1]) < parts[-1] == 1


def test_what_was_measured_survives_an_interruption(clock):
    def interrupted(traces, passed):
        raise KeyboardInterrupt

    traces = {}
    with pytest.raises(KeyboardInterrupt):
        in_turns([named([], clock, "a", 100)], traces, rounds=3, look=interrupted)
    assert len(traces["a"].queries) == 4


def test_streams_are_kept_busy_for_their_turn():
    asked = [0, 0]

    def stream(number):
        def ask():
            asked[number] += 1

        return ask

    subject = Subject("busy", lambda: None, turn_ms=5, streams=[stream(0), stream(1)])
    trace = measured([subject], rounds=3)["busy"]
    assert trace.streams == 2
    assert trace.turns == 3
    assert min(asked) >= 4  # a warm-up and three turns
    assert len(trace.warm_up) + len(trace.queries) == sum(asked)
