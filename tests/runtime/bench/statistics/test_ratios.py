import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from darnet_trt.runtime.bench.statistics.ratios import paired_ratio


def drawn(n, seed=0):
    return 20 * np.exp(0.02 * np.random.default_rng(seed).normal(size=n))


def test_the_paired_ratio_is_a_trimmed_mean():
    first, second = drawn(40, seed=1), 1.05 * drawn(40, seed=2)
    assert np.log(paired_ratio(first, second).value) == pytest.approx(
        trim_mean(np.log(second / first), 0.2)
    )


def test_what_slows_a_round_cancels():
    slowed = np.exp(np.random.default_rng(0).uniform(0, 0.5, 100))
    first, second = drawn(100, seed=1) * slowed, 1.05 * drawn(100, seed=2) * slowed
    low, high = paired_ratio(first, second).interval()
    assert 1.04 < low < 1.05 < high < 1.06


def test_rounds_that_another_process_hit_hardly_move_it():
    first, second = drawn(100, seed=1), 1.05 * drawn(100, seed=2)
    second[::10] *= 3
    assert paired_ratio(first, second).value == pytest.approx(1.05, abs=0.01)


def test_dependent_rounds_count_as_fewer():
    first, second = drawn(500, seed=1), drawn(500, seed=2)
    once = paired_ratio(first, second)
    five = paired_ratio(np.repeat(first, 5), np.repeat(second, 5))
    assert five.effective == pytest.approx(500, rel=0.3)
    assert five.log_standard_error == pytest.approx(once.log_standard_error, rel=0.3)


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)), min_size=1, max_size=60))
def test_exchanging_the_runners_inverts_the_ratio(rounds):
    first, second = map(np.array, zip(*rounds, strict=True))
    there, back = paired_ratio(first, second), paired_ratio(second, first)
    assert there.value == pytest.approx(1 / back.value)
    if (interval := there.interval()) is None:
        assert back.interval() is None
    else:
        assert interval[0] <= there.value <= interval[1]
        assert back.interval() == pytest.approx((1 / interval[1], 1 / interval[0]), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_few_rounds_give_a_ratio_without_an_interval(count):
    found = paired_ratio([20.0] * count, [21.0] * count)
    assert found.value == pytest.approx(1.05)
    assert found.interval() is None
