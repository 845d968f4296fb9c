import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from darnet_trt.runtime.bench.statistics.quantiles import (
    PERCENTS,
    order_places,
    samples_needed,
    summarise,
)

TIMES = st.floats(0.1, 1e4, allow_nan=False)


def drawn(n, seed=0):
    return 20 * np.exp(0.02 * np.random.default_rng(seed).normal(size=n))


def of(samples, percent):
    (found,) = summarise(samples, (percent,)).quantiles
    return found


def test_a_percentile_needs_as_many_samples_as_bound_it():
    assert [samples_needed(percent) for percent in PERCENTS] == [6, 29, 59, 299]


@pytest.mark.parametrize(("percent", "count"), [(90, 29), (95, 59), (99, 299)])
def test_the_first_interval_ends_at_the_largest_sample(percent, count):
    samples = drawn(count, seed=4)
    assert of(samples, percent).high_ms == pytest.approx(max(samples))
    few = of(samples[1:], percent)
    assert (few.value_ms, few.low_ms, few.high_ms, few.needed) == (None, None, None, count)


@pytest.mark.parametrize(
    ("percent", "count"),
    [
        (p, n)
        for p in PERCENTS
        for n in (6, 7, 29, 59, 100, 299, 368, 30_000)
        if n >= samples_needed(p)
    ],
)
def test_places_agree_with_the_binomial_distribution(percent, count):
    share = percent / 100
    low, high = order_places(count, share)

    def covers(first, last):  # P(X_(first) <= quantile < X_(last))
        return binom.cdf(last - 1, count, share) - binom.cdf(first - 1, count, share)

    assert 1 <= low < high <= count
    assert covers(np.floor(low), np.ceil(high)) >= 0.95 - 1e-9
    assert covers(np.ceil(low + 1e-9), np.floor(high - 1e-9)) <= 0.95


@pytest.mark.parametrize("count", [6, 7, 40, 1001])
def test_the_interval_of_a_median_is_symmetric(count):
    low, high = order_places(count, 0.5)
    assert low + high == pytest.approx(count + 1)


@given(st.lists(TIMES, min_size=1, max_size=400))
def test_a_quantile_lies_in_its_interval(samples):
    for one in summarise(samples).quantiles:
        if one.low_ms is not None:
            ordered = [min(samples), one.low_ms, one.value_ms, one.high_ms, max(samples)]
            assert ordered == pytest.approx(sorted(ordered))
        elif one.percent == 50:
            assert one.value_ms == pytest.approx(np.median(samples))


def test_units_do_not_matter():
    samples = drawn(500)
    for one, thousand in zip(
        summarise(samples).quantiles, summarise(1000 * samples).quantiles, strict=True
    ):
        assert thousand.low_ms == pytest.approx(1000 * one.low_ms)
        assert thousand.high_ms == pytest.approx(1000 * one.high_ms)


@pytest.mark.parametrize("samples", [[7.0], [7.0, 8.0], [7.0] * 5])
def test_few_samples_give_a_median_and_say_what_an_interval_takes(samples):
    summary = summarise(samples)
    assert summary.samples == summary.effective == len(samples)
    median, *others = summary.quantiles
    assert median.value_ms == np.median(samples)
    assert [one.low_ms for one in summary.quantiles] == [None] * 4
    assert [one.value_ms for one in others] == [None] * 3


def test_equal_samples_have_an_interval_of_one_value():
    median = of([7.0] * 50, 50)
    assert (median.low_ms, median.value_ms, median.high_ms) == (7, 7, 7)


def test_repeated_samples_count_once():
    samples = drawn(400, seed=1)
    once, five = summarise(samples, (50,)), summarise(np.repeat(samples, 5), (50,))
    assert five.effective == pytest.approx(400, rel=0.3)

    def width(summary):
        return summary.quantiles[0].high_ms - summary.quantiles[0].low_ms

    assert width(five) == pytest.approx(width(once), rel=0.35)
    assert summarise(np.repeat(samples, 5), (99,)).quantiles[0].needed > 5 * 299


def test_samples_that_alternate_exactly_are_worth_many_but_not_without_end():
    summary = summarise([10.0, 10.0, 20.0] * 1000)

    assert 3000 < summary.effective <= 300_000
    assert summary.quantiles[0].high_ms == 10


def test_a_drifting_runner_gets_no_interval():
    samples = drawn(300) * np.linspace(1, 1.1, 300)
    summary = summarise(samples)
    assert summary.drift.verdict == "drifting"
    assert [one.high_ms for one in summary.quantiles] == [None] * 4
    assert summary.quantiles[0].value_ms == np.median(samples)
