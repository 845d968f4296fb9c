import pytest

from darnet_trt.runtime.bench.report.scenarios import remarks
from darnet_trt.runtime.bench.report.schema import Answers, Comparison, Estimate, Fidelity
from darnet_trt.runtime.bench.report.table import against_baseline, tables
from darnet_trt.runtime.bench.scenarios.server import ServerResult
from tests.runtime.bench.report.reports import report, steady, trace


def rows(table):
    return {row[0]: dict(zip(table.titles, row, strict=True)) for row in table.rows}


def test_the_first_table_says_how_fast_how_sure_and_against_what():
    answer, _ = tables(report(trace("a", steady(1432)), trace("b", steady(2900, seed=3))))
    a, b = rows(answer).values()
    assert (a["runs in"], a["time / first's"]) == ("fp32", "1")
    assert a["median ms"].startswith("1 43")
    assert "(1 4" in a["median ms"]
    assert b["time / first's"].startswith("2.0")
    assert " to " in b["time / first's"]
    assert answer.after == ()


def test_slow_queries_or_how_many_samples_they_take():
    _, slow = tables(report(trace("a", steady(20, count=100))))
    found = rows(slow)["a"]
    assert found["samples"] == "100"
    assert " to " in found["p90 ms"]
    assert found["p99 ms"] == "needs 299"
    assert any("needs" in line for line in slow.after)


def test_a_drift_and_what_had_not_settled_are_marked():
    drifting = [value * (1 + index / 600) for index, value in enumerate(steady(20))]
    answer, slow = tables(report(trace("a", drifting), trace("b", steady(20), settled=False)))
    found = rows(answer)
    assert found["a"]["median ms"].endswith("*")
    assert found["b"]["median ms"].endswith("†")
    assert any(line.startswith("*") and "a by " in line for line in answer.after)
    assert any(line.startswith("†") and line.endswith(": b") for line in answer.after)
    assert rows(slow)["a"]["p90 ms"] == "drifts"


def test_one_sample_is_shown_without_an_interval():
    answer, _ = tables(report(trace("a", [20.0])))
    assert rows(answer)["a"]["median ms"] == "20.0"
    assert any("1 sample," in line for line in answer.after)


def test_a_ratio_of_one_turn_has_no_interval_and_a_reason():
    answer, _ = tables(report(trace("a", [20.0]), trace("b", [30.0])))
    assert rows(answer)["b"]["time / first's"] == "1.50"
    assert answer.after[-1].endswith("interval of the ratio: b")


def test_what_is_not_decided_has_a_reason():
    def said(ratio):
        found = Comparison(file="before", fail_above=1.025, verdict=None, ratio=ratio)
        return against_baseline(found).partition("1.025: ")[2]

    assert said(None) == "interrupted before the first look"
    assert said(Estimate(value=1.02, low=None, high=None)) == "too few queries, measure longer"
    assert said(Estimate(value=1.02, low=1.0, high=1.04)) == "not decided in this time"


def test_on_a_busy_machine_each_ratio_is_marked_and_the_reason_given():
    busy = report(trace("a", steady(20)), trace("b", steady(30)), doubts=("load 9",))
    answer, _ = tables(busy)
    assert rows(answer)["b"]["time / first's"].endswith("?")
    assert any("load 9" in line for line in answer.after)


def test_an_interrupted_report_says_so():
    answer, slow = tables(report(trace("a", steady(20)), trace("b", []), interrupted=True))
    assert any("INTERRUPTED" in line for line in answer.before)
    assert rows(answer)["b"]["median ms"] == "not measured"
    assert list(rows(slow)) == ["a"]


def test_batches_have_their_throughput():
    one, four = trace("a batch 1", steady(20)), trace("a batch 4", steady(60), scans=4)
    answer, _, throughput = tables(report(one, four))
    assert rows(answer)["a batch 4"]["time per scan / first's"].startswith("0.75")
    assert throughput.rows[1][:2] == ("a", "4")
    assert throughput.rows[1][2].startswith("15.0")
    assert throughput.rows[1][3].startswith("66.")


@pytest.mark.parametrize("median_ms", [5.123, 20.12, 1432])
def test_the_tables_fit_on_80_columns(median_ms):
    names = ("openvino-bf16", "onnxruntime", "openvino-bf16 from file")
    made = [trace(name, steady(median_ms, count=300, seed=i + 2)) for i, name in enumerate(names)]
    for table in tables(report(*made)):
        widths = [max(map(len, column)) for column in zip(table.titles, *table.rows, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) <= 80, table.titles


def compared(*traces, **changes):
    """The report of a comparison: its engines' answers differ by 0.021."""
    fidelity = Fidelity(
        class_flips=1, max_probability_difference=0.0213, max_logits_error=2e-6, finite=True
    )
    answers = Answers(inputs=3, source="3 phantoms", random=False, reference="a")
    whole = report(*traces)
    engines = tuple(one.model_copy(update={"fidelity": fidelity}) for one in whole.engines)
    return whole.model_copy(update={"engines": engines, "answers": answers} | changes)


def test_how_the_answers_differ_stands_beside_the_time():
    answer = tables(compared(trace("a", steady(20)), trace("b", steady(30))))[0]
    found = rows(answer)["b"]
    assert (found["flips of 3"], found["Δ probability"], found["Δ logits"]) == (
        "1",
        "0.021",
        "2e-06",
    )
    assert any("3 phantoms" in line and line.endswith(" a") for line in answer.after)
    assert not any("random" in line for line in answer.after)


def test_random_inputs_and_what_was_left_out_are_said():
    random = Answers(inputs=4, source="4 volumes", random=True, reference="a")
    answer = tables(compared(trace("a", [20.0]), answers=random, left_out=("torch left out: x",)))[
        0
    ]
    assert any("random numbers" in line for line in answer.after)
    assert "torch left out: x" in answer.after


def test_answers_that_are_no_numbers_are_not_shown_as_a_number():
    broken = Fidelity(
        class_flips=3, max_probability_difference=1e9, max_logits_error=1e9, finite=False
    )
    whole = compared(trace("a", [20.0]))
    engines = tuple(one.model_copy(update={"fidelity": broken}) for one in whole.engines)
    answer = tables(whole.model_copy(update={"engines": engines}))[0]
    assert rows(answer)["a"]["Δ probability"] == "not finite"


def test_a_rate_that_needs_more_time_than_the_streams_have_is_marked():
    def said(load: float) -> str:
        found = ServerResult(rate_per_s=10, load=load, overloaded=False)
        (one,) = report(trace("a", steady(20))).configurations
        return " ".join(remarks([one.model_copy(update={"arrivals": found})]))

    assert said(0.99) == ""
    assert "the queue grows without end" in said(1.17)
