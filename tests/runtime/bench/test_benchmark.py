import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.bench import benchmark
from darnet_trt.runtime.bench.benchmark import Benchmark
from darnet_trt.runtime.bench.regression.yardstick import YARDSTICK
from darnet_trt.runtime.bench.subject import Subject
from darnet_trt.runtime.engines.loading import Engine
from tests.runtime.bench.clock import Clock, StubRunner


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(monkeypatch)
    stub = Subject(YARDSTICK, clock.takes(10), turn_ms=100)
    monkeypatch.setattr(benchmark, "yardstick", lambda: stub)
    return clock


@pytest.fixture
def bench(tiny, clock):
    def start(**options):
        bundle = open_bundle(tiny)
        engine = Engine(bundle.manifest.artifacts[0], StubRunner(clock, 20))
        others = {"slow": StubRunner(clock, 21), "fast": StubRunner(clock, 5)}
        return Benchmark(bundle, [engine], against=others, **options)

    return start


def test_known_delays_are_found(bench):
    measured = bench(command="darnet-trt bench")
    measured.measure(seconds=10)
    report = measured.report()
    first, slow, fast = report.configurations
    assert (first.name, first.ratio) == ("openvino-fp32", None)
    assert [c.latency.median_ms for c in (first, slow, fast)] == [20, 21, 5]
    assert (slow.ratio.value, fast.ratio.value) == pytest.approx((1.05, 0.25))
    assert slow.ratio.low == slow.ratio.high == pytest.approx(1.05)
    assert fast.scans_per_s.value == pytest.approx(200)
    assert first.settled
    assert first.warm_up > 12
    assert first.turns == slow.turns == fast.turns
    assert len(first.latency.samples_ms) == len(measured.traces["openvino-fp32"].queries)
    assert report.environment.command == "darnet-trt bench"


def test_batches_are_compared_by_scan(bench):
    measured = bench(batches=[1, 4])
    measured.measure(rounds=3)
    names = [c.name for c in measured.report().configurations]
    assert names[:2] == ["openvino-fp32 batch 1", "openvino-fp32 batch 4"]
    four = measured.report().configurations[1]
    assert (four.batch, four.latency.median_ms) == (4, 80)
    assert (four.ratio.value, four.scans_per_s.value) == pytest.approx((1, 50))


def test_interrupted_it_reports_what_it_has(bench, clock):
    measured = bench()
    assert not measured.has_measured
    queries = 0

    def interrupt():
        nonlocal queries
        queries += 1
        clock.ns += 10**8
        if queries > 5:  # the warm-up's turn takes five
            raise KeyboardInterrupt

    measured._runners["slow"].query = interrupt
    with pytest.raises(KeyboardInterrupt):
        measured.measure(rounds=3)
    assert measured.has_measured
    report = measured.report(interrupted=True)
    assert report.interrupted
    first, slow, _ = report.configurations
    assert first.latency is not None
    assert (slow.latency, slow.ratio, slow.scans_per_s) == (None, None, None)
