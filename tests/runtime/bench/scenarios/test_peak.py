import pytest

from darnet_trt.runtime.bench.scenarios.limit import Limit
from darnet_trt.runtime.bench.scenarios.peak import (
    PeakResult,
    Trial,
    peak_result,
    search,
    too_short,
)
from darnet_trt.runtime.bench.subject import Trace
from tests.runtime.bench.scenarios import queueing
from tests.runtime.bench.scenarios.simulated import SimulatedClock

LIMIT = Limit(latency_ms=30, percent=90)


def searched(limit: Limit, seconds: float, streams: int = 1):
    clock, trace = SimulatedClock(), Trace("stub")
    trials: list[Trial] = []
    stubs = [clock.takes(10)] * streams
    search(stubs, trace, trials, limit, seconds=seconds, clock=clock)
    return peak_result(trials, limit), trace, clock.now_ns() / 1e9


def test_the_highest_rate_is_that_of_queueing_theory():
    result, trace, took_s = searched(LIMIT, 600)

    true = 100 * queueing.highest_load(0.9, 3)
    assert result.rate_per_s == pytest.approx(true, rel=0.07)
    assert result.at_least_per_s is not None
    assert result.at_most_per_s is not None
    assert result.at_least_per_s < true < result.at_most_per_s
    assert took_s < 605
    assert {query.turn for query in trace.queries} == set(range(len(result.trials)))
    written = result.model_dump_json()
    assert PeakResult.model_validate_json(written).model_dump_json() == written


def test_a_short_search_says_that_it_is_not_sure():
    result, _, took_s = searched(Limit(latency_ms=30), 5)

    assert result.at_least_per_s is None
    assert all(trial.judgement.needed >= 459 for trial in result.trials)
    assert took_s < 6


def test_no_rate_meets_a_limit_below_the_service_time():
    result, _, _ = searched(Limit(latency_ms=5), 60)

    assert result.rate_per_s is None
    assert result.at_most_per_s is not None


def test_a_limit_that_no_queue_exceeds_is_met_up_to_the_capacity():
    result, _, _ = searched(Limit(latency_ms=5000), 300)

    assert result.rate_per_s is not None
    assert 90 < result.rate_per_s < 105


def test_a_trial_ends_as_soon_as_it_is_clear():
    result, _, took_s = searched(Limit(latency_ms=12, percent=90), 600)

    first = result.trials[0]
    assert not first.met
    assert first.judgement.queries < 0.3 * first.rate_per_s * 600 * 0.55 / 6
    assert took_s < 600


def test_a_search_that_was_interrupted_has_its_trials():
    clock, trials, trace = SimulatedClock(), [], Trace("stub")

    def ms() -> float:
        if len(trials) == 2:
            raise KeyboardInterrupt
        return 10

    with pytest.raises(KeyboardInterrupt):
        search([clock.takes(ms)], trace, trials, LIMIT, seconds=100, clock=clock)

    assert len(peak_result(trials, LIMIT).trials) == 2
    assert {query.turn for query in trace.queries} == {0, 1}


def test_what_a_time_cannot_give_is_said_with_what_would():
    limit = Limit(latency_ms=30)

    said = too_short(limit, capacity_per_s=100, seconds=10)
    assert said is not None
    assert "528 queries" in said
    assert "--percentile 90" in said
    enough_s = float(said.partition("--seconds ")[2].split()[0])
    assert too_short(limit, 100, enough_s) is None
    assert too_short(limit, 100, enough_s - 1) is not None
    assert too_short(Limit(latency_ms=30, percent=90), 100, 10) is None


def test_a_search_tells_the_capacity_before_it_begins():
    clock, told = SimulatedClock(), []
    trace, trials = Trace("stub"), []

    def begins(capacity_per_s: float) -> None:
        told.append((capacity_per_s, len(trials)))

    search([clock.takes(10)], trace, trials, LIMIT, seconds=30, begins=begins, clock=clock)

    assert told == [(pytest.approx(100), 0)]
