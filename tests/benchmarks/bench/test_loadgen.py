import math

from benchmarks.bench import loadgen
from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.bench.scenarios.limit import Limit


def test_both_measure_a_single_stream_and_as_many_queries():
    asked = []
    wait = loadgen.stub(1.0)

    def ask() -> None:
        asked.append(1)
        wait()

    found = loadgen.loadgen_single_stream(ask, 40)
    assert len(asked) == 40
    assert all(found[percent] >= 1.0 for percent in loadgen.PERCENTS)

    asked.clear()
    latencies = loadgen.bench_single_stream("stub", ask, 0.1)
    assert 0 < len(latencies) < len(asked)
    assert min(latencies) >= 1.0


def test_both_find_a_highest_rate():
    limit = Limit(latency_ms=3, percent=90)

    theirs = loadgen.loadgen_rate(loadgen.stub(1.0), limit, 900, 30, 0)
    ours = loadgen.bench_rate("stub", loadgen.stub(1.0), limit, 1.0, 0)
    for rate in (theirs, ours):  # NaN: on a busy machine none meets the limit
        assert 0 < rate < 2000 or math.isnan(rate)


def test_the_short_form_prints_every_line_and_returns_the_targets(capsys, monkeypatch):
    monkeypatch.setattr(turns, "TURN_MS", 20)
    targets = loadgen.main(["--short"])

    printed = capsys.readouterr().out
    for line in ("| stub, p99", "| stub, highest rate", "| one convolution, p99", "two streams"):
        assert line in printed
    # of the stub p50, p90, p99 and the rate; of the engine no p99; the overhead
    assert [target.limit for target in targets] == [2, 2, 2, 5, 2, 2, 5, 50, 50]
