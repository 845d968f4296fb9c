import json

import pytest

from darnet_trt.runtime.bench.report.building import configuration
from darnet_trt.runtime.bench.report.files import as_json
from darnet_trt.runtime.bench.scenarios.limit import Limit
from darnet_trt.runtime.bench.scenarios.peak import peak_result
from darnet_trt.runtime.bench.subject import Query, Trace
from tests.runtime.bench.report.reports import report, steady, trace


def of(samples_ms, **options):
    one = trace("a", samples_ms, **options)
    return configuration(one, one, engine="a", way="engine")


def test_many_samples_give_every_percentile_an_interval():
    latency = of(steady(20)).latency
    assert latency.verdict == "steady"
    assert [one.percent for one in latency.quantiles] == [50, 90, 95, 99]
    for one in latency.quantiles:
        assert one.low_ms <= one.value_ms <= one.high_ms
    assert latency.median.low_ms < 20 < latency.median.high_ms


def test_few_samples_give_their_needed_number_and_one_sample_is_shown():
    latency = of(steady(20, count=50)).latency
    assert latency.quantile(99).value_ms is None
    assert latency.quantile(99).needed == 299
    one = of([20.0])
    assert (one.latency.median_ms, one.latency.median.low_ms) == (20, None)
    assert (one.scans_per_s.value, one.scans_per_s.low) == (50, None)
    assert one.latency.verdict == "too few"


def test_a_drifting_runner_is_labelled_and_has_no_interval():
    drifting = [value * (1 + index / 600) for index, value in enumerate(steady(20))]
    latency = of(drifting).latency
    assert latency.verdict == "drifting"
    assert latency.change == pytest.approx(0.4, abs=0.1)
    assert latency.median.low_ms is None
    assert latency.quantile(90).value_ms is None


def test_a_ratio_is_paired_over_the_turns_that_both_have():
    first, second = trace("a", steady(20, 100)), trace("b", steady(21, 95, seed=3))
    ratio = configuration(second, first, engine="b", way="engine").ratio
    assert ratio.low < 1.05 < ratio.high
    assert ratio.high - ratio.low < 0.05


def test_throughput_counts_all_scans_of_a_batch():
    one = of(steady(100), scans=4)
    assert one.scans_per_s.low < 40 < one.scans_per_s.high


def test_a_search_has_the_quantile_of_its_limit():
    arrivals = peak_result([], Limit(latency_ms=30, percent=99.9))
    one = trace("a", steady(20))
    latency = configuration(one, one, engine="a", way="engine", arrivals=arrivals).latency
    assert [one.percent for one in latency.quantiles] == [50, 90, 95, 99, 99.9]
    assert latency.quantile(99.9).needed == 2995


def test_one_turn_gives_a_ratio_without_an_interval_and_plain_json():
    whole = report(trace("a", [20.0]), trace("b", [30.0]))
    found = json.loads(as_json(whole))
    assert found["schema_version"] == 4
    assert found["configurations"][1]["ratio"] == {"value": 1.5, "low": None, "high": None}
    assert found["configurations"][1]["latency"]["samples_ms"] == [30.0]


def test_busy_streams_are_compared_by_their_throughput():
    def busy(streams):
        starts = [1000 * turn + at for turn in range(5) for at in range(0, 200, 10)]
        taken = [Query(at // 1000, at, at, at + 10) for at in starts for _ in range(streams)]
        return Trace("busy", queries=taken, streams=streams)

    found = configuration(busy(2), busy(1), engine="engine", way="engine", streams=2)
    assert found.ratio.value == pytest.approx(0.5)
    assert found.scans_per_s.value == pytest.approx(2e8)
