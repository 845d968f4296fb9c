"""Totals, times and throughput of results."""

import pytest

from darnet_trt.errors import Finding
from darnet_trt.runtime.prediction.report.summary import Summary, throughput
from darnet_trt.runtime.prediction.results.result import StageTimes
from tests.runtime.prediction.report.results import PAPER_CLASSES, refused, result


def summary_of(results):
    summary = Summary()
    for each in results:
        summary.add(each)
    return summary


def test_every_result_is_counted_where_it_belongs():
    gap = Finding("gaps", "2 slices are missing")
    close = dict(zip(PAPER_CLASSES, (0.30, 0.36, 0.34), strict=True))
    summary = summary_of([
        result(0),
        result(1, warnings=(gap, gap)),
        result(2, probabilities=close, predicted="common-pneumonia"),
        refused(3),
        refused(4, status="failed", code="truncated", reason="the file is cut off"),
    ])  # fmt: skip
    assert summary.total == 5
    assert summary.statuses == {"ok": 3, "refused": 1, "failed": 1}
    assert summary.reasons == {("refused", "too-few-slices"): 1, ("failed", "truncated"): 1}
    assert summary.sentences["truncated"] == "the file is cut off"
    assert summary.classes == {"covid-19": 2, "common-pneumonia": 1, "normal": 0}
    assert summary.confidence == {"covid-19": {8: 2}, "common-pneumonia": {3: 1}}
    assert (summary.undecided, summary.warned, summary.warnings["gaps"]) == (1, 1, 1)


def test_a_stage_is_timed_over_the_results_that_reached_it():
    results = [result(i, stages_ms=StageTimes(find=1, infer=i)) for i in range(1, 101)]
    stages = {s.stage: s for s in summary_of([*results, refused(101)]).stage_times()}
    assert list(stages) == ["find", "infer", "total"]
    assert stages["find"].results == 101
    infer = stages["infer"]
    assert (infer.results, infer.median, infer.most) == (100, 50.5, 100)
    assert (infer.p90, infer.p99) == (pytest.approx(90.1), pytest.approx(99.01))
    assert infer.share == pytest.approx(5050 / 5151)


def test_a_pause_is_not_part_of_the_throughput():
    run = [10.0 * i for i in range(61)]
    found = throughput([*run, *(t + 40 * 3600 for t in run)])
    assert (found.an_hour, found.pauses) == (pytest.approx(360), 1)
    assert sum(found.counts) == 122


@pytest.mark.parametrize("seconds", [0, 1, 59, 3600, 86400 * 3, 86400 * 4000])
def test_any_length_of_a_run_fits_into_one_chart(seconds):
    found = throughput([5.0, 5.0 + seconds])
    assert sum(found.counts) == 2
    assert len(found.counts) <= 60
    assert found.start <= 5 < found.start + found.step


def test_results_of_one_moment_have_no_throughput():
    assert throughput([7.0, 7.0, 7.0]).an_hour is None
