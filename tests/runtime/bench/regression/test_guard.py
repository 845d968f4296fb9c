"""Runners of known delays against a stored measurement of them."""

import json

import numpy as np
import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.regression.baseline import (
    StoredLatencies,
    read_baseline,
    stored_latencies,
)
from darnet_trt.runtime.bench.regression.guard import LOOKS, NEEDED, Guard, refuse_too_few
from darnet_trt.runtime.bench.regression.yardstick import YARDSTICK
from darnet_trt.runtime.bench.subject import Query, Trace
from tests.runtime.bench.report import reports


def turns(name, medians_ms):
    """A trace with one query a turn."""
    found = Trace(name)
    for turn, ms in enumerate(medians_ms):
        found.queries.append(Query(turn, 0, 0, round(ms * 1e6)))
    return found


def run(slower, machine=1.0, rounds=60, seed=0):
    """An engine of 20 ms and the yardstick of 5 ms, on a machine that takes so many times as long;
    another process lengthens some turns of either."""
    rng = np.random.default_rng(seed)
    neighbour = machine * rng.choice([1, 1.7], (2, rounds), p=(0.6, 0.4))
    noise = rng.lognormal(0, 0.01, (2, rounds))
    return {
        "engine": turns("engine", 20 * slower * neighbour[0] * noise[0]),
        YARDSTICK: turns(YARDSTICK, 5 * neighbour[1] * noise[1]),
    }


def stored(traces):
    """A run as a baseline holds it."""
    return StoredLatencies(*(tuple(trace.latencies_ms) for trace in traces.values()))


def judged(slower, limit=1.025, rounds=60, **options):
    """The guard after the looks at a run."""
    guard = Guard("engine", stored(run(1, seed=1)), limit)
    for passed in LOOKS:
        if guard.look(run(slower, rounds=int(rounds * passed), seed=2, **options), passed):
            break
    return guard


def test_a_slower_engine_is_found():
    assert judged(1.05).verdict == "above"
    assert judged(1.05).ratio.value == pytest.approx(1.05, abs=0.01)


def test_an_equal_engine_on_a_slower_machine_is_not_accused():
    guard = judged(1, machine=2.2)
    assert guard.verdict == "below"
    assert guard.ratio.value == pytest.approx(1, abs=0.01)


def test_it_does_not_say_what_it_does_not_know():
    guard = judged(1.025)
    assert guard.verdict is None
    found = guard.comparison("report.json")
    assert (found.verdict, found.fail_above) == (None, 1.025)
    assert found.ratio.low < 1.025 < found.ratio.high


def test_it_looks_seldom():
    guard = Guard("engine", stored(run(1)), 1.025)
    assert not guard.look({}, 0.39)  # it would need the traces
    few = run(1, rounds=3)
    assert not guard.look(few, 0.4)
    assert not guard.look({}, 0.69)


ENOUGH, FEW = (20.0,) * NEEDED, (20.0,) * (NEEDED - 1)


@pytest.mark.parametrize(
    "before", [(FEW, None), ((20.0,) * 200 + (30.0,) * 200, None), (FEW, ENOUGH), (ENOUGH, FEW)]
)
def test_a_baseline_from_which_no_answer_can_come_is_refused(before):
    with pytest.raises(UsageError, match=f"too few queries.* takes {NEEDED}; measure it again"):
        refuse_too_few(StoredLatencies(*before))


@pytest.mark.parametrize("late", [0, 0.02, 0.2])
def test_just_enough_queries_give_an_answer_also_where_looks_come_late(late):
    before = StoredLatencies(tuple(20 + 0.1 * (query % 3) for query in range(NEEDED)), None)
    refuse_too_few(before)
    guard, traces = Guard("engine", before, 1.025), {"engine": turns("engine", before.ms)}
    known = [guard.look(traces, min(part + late, 1)) for part in LOOKS]
    assert known == [False, False, True]
    assert guard.verdict == "below"


def test_an_undecided_ratio_has_the_interval_that_was_judged():
    guard = judged(1.025)
    low, high = guard.ratio.interval()
    found = guard.comparison("report.json").ratio
    assert found.low < low < high < found.high


def test_on_a_gpu_the_yardstick_has_no_say():
    guard = Guard("engine", StoredLatencies((20.0, 20.1, 19.9) * 20, None), 1.025)
    assert guard.look({"engine": turns("engine", [20.0, 20.1, 19.9] * 20)}, 1.0)
    assert guard.verdict == "below"


def test_what_is_stored_is_read(tmp_path):
    report = reports.report(reports.trace("engine", reports.steady(20)))
    (tmp_path / "report.json").write_text(report.model_dump_json())
    assert read_baseline(tmp_path) == read_baseline(tmp_path / "report.json")
    assert len(read_baseline(tmp_path).configurations[0].latency.samples_ms) == 300


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"\xff", None])
def test_no_report(tmp_path, content):
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_baseline(tmp_path)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("ms", [0.0, -1.0, 1e-300, float("nan"), float("inf")])
@pytest.mark.parametrize("of_the_yardstick", [False, True])
def test_times_that_nothing_can_take_are_refused(monkeypatch, ms, of_the_yardstick):
    report = reports.report(reports.trace("engine", reports.steady(20)))
    here = "darnet_trt.runtime.bench.regression.baseline.environment"
    monkeypatch.setattr(here, lambda *_, **__: reports.ENVIRONMENT)
    (one,) = report.configurations
    if of_the_yardstick:
        damaged = report.model_copy(update={"yardstick_ms": (*report.yardstick_ms, ms)})
    else:
        latency = one.latency.model_copy(update={"samples_ms": (*one.latency.samples_ms, ms)})
        configuration = one.model_copy(update={"latency": latency})
        damaged = report.model_copy(update={"configurations": (configuration,)})
    with pytest.raises(UsageError, match="times that nothing can take; measure it anew"):
        stored_latencies(damaged, "engine", None)


def test_a_report_of_another_machine_or_engine(monkeypatch):
    report = reports.report(reports.trace("engine", reports.steady(20)))
    here = "darnet_trt.runtime.bench.regression.baseline.environment"
    fewer = reports.ENVIRONMENT.model_copy(update={"cpus_allowed": 1})
    monkeypatch.setattr(here, lambda *_, **__: fewer)
    with pytest.raises(UsageError, match="another number of CPUs"):
        stored_latencies(report, "engine", None)
    monkeypatch.setattr(here, lambda *_, **__: reports.ENVIRONMENT)
    (one,) = report.configurations
    assert stored_latencies(report, "engine", None).ms == one.latency.samples_ms
    with pytest.raises(UsageError, match=r"no times of other, only of engine"):
        stored_latencies(report, "other", None)
    assert stored_latencies(report, "engine", None).yardstick_ms == report.yardstick_ms
    assert stored_latencies(report, "engine", None, on_gpu=True).yardstick_ms is None
    interrupted = report.model_copy(update={"yardstick_ms": ()})
    with pytest.raises(UsageError, match="no times of engine; "):
        stored_latencies(interrupted, "engine", None)
    with pytest.raises(UsageError, match="threads"):
        stored_latencies(report, "engine", 3)
    assert json.loads(report.model_dump_json())["schema_version"] == 4
