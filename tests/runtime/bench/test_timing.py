from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.runtime.bench import timing
from darnet_trt.runtime.bench.timing import LEAST_ROUNDS, Latency, in_turns, needed_samples


@pytest.mark.parametrize(("percent", "count"), [(50, 2), (90, 10), (99, 100), (99.9, 1000)])
def test_a_percentile_takes_enough_samples_for_one_beyond_it(percent, count):
    assert needed_samples(percent) == count
    samples = tuple(map(float, range(count)))
    assert Latency(samples[1:]).percentile_ms(percent) is None
    assert Latency(samples).percentile_ms(percent) == count - 2


@given(st.lists(st.floats(0, 1e6), min_size=10, max_size=300))
def test_no_more_than_a_tenth_lies_beyond_p90(samples):
    p90 = Latency(tuple(samples)).percentile_ms(90)
    assert p90 in samples
    assert sum(sample > p90 for sample in samples) <= len(samples) / 10


def test_engines_take_turns_after_one_untimed_turn():
    order: list[str] = []
    runs = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    latencies = in_turns(runs, 3)
    assert order == ["a", "b"] * 4
    assert [len(latency.samples_ms) for latency in latencies.values()] == [3, 3]


def test_on_a_gpu_a_turn_warms_up_and_runs_as_often_as_fits(monkeypatch):
    now_s = 0.0
    clock = SimpleNamespace(perf_counter=lambda: now_s, sleep=lambda seconds: None)
    monkeypatch.setattr(timing, "time", clock)
    order: list[str] = []

    def a_sixteenth(name):
        nonlocal now_s
        now_s += 1 / 16
        order.append(name)

    runs = {name: partial(a_sixteenth, name) for name in ("gpu", "cpu")}
    latencies = in_turns(runs, 2, on_gpu=["gpu"], after=lambda name: order.append(f"after {name}"))
    turn = ["gpu"] * 4 + ["gpu", "after gpu"] * 8 + ["cpu", "after cpu"]
    assert order == ["gpu", "cpu"] + 2 * turn
    assert latencies["gpu"].samples_ms == (62.5,) * 16
    assert latencies["cpu"].samples_ms == (62.5,) * 2


def test_out_of_time_each_still_gets_the_least_rounds():
    latencies = in_turns({"a": lambda: None}, 30, budget_s=0)
    assert len(latencies["a"].samples_ms) == LEAST_ROUNDS
