import numpy as np
import pytest
from scipy.stats import rankdata, t

from benchmarks.bench.runners import STEADY
from darnet_trt.runtime.bench.statistics.dependence import (
    integrated_autocorrelation,
    is_dependent,
    ranks,
    student_t_quantile,
)


def draw(name, runs, n):
    return STEADY[name](np.random.default_rng(3), runs, n)


def test_ranks_are_scipys():
    values = np.array([3.0, 1, 1, 2, 3, 3])
    assert ranks(values) == pytest.approx(rankdata(values) - 3.5)


@pytest.mark.parametrize(("name", "tau"), [("Gaussian", 1), ("AR(1) 0.5", 3), ("AR(1) 0.9", 19)])
def test_known_autocorrelations(name, tau):
    found = [integrated_autocorrelation(np.log(one)) for one in draw(name, 20, 4000)]
    assert np.mean(found) == pytest.approx(tau, rel=0.15)


def test_a_period_is_worth_more_than_independent_samples():
    alternating = np.tile([1.0, -1.0], 200) + 0.1 * np.random.default_rng(0).normal(size=400)
    assert integrated_autocorrelation(alternating) < 0.1


def test_constant_and_short_series_count_as_independent():
    assert integrated_autocorrelation(np.ones(50)) == 1
    assert integrated_autocorrelation(np.array([1.0, 2, 3])) == 1
    assert not is_dependent(np.ones(50))
    assert not is_dependent(np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("Gaussian", 0, 0.3), ("Pareto outliers", 0, 0.3), ("AR(1) 0.5", 0.95, 1)],
)
def test_dependence_is_seen(name, low, high):
    assert low <= np.mean([is_dependent(one) for one in draw(name, 200, 100)]) <= high


def test_equal_samples_in_random_order_are_independent():
    values = np.random.default_rng(0).integers(0, 2, (200, 100)).astype(float)
    assert np.mean([is_dependent(one) for one in values]) < 0.3


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("degrees_of_freedom", [3, 5, 10.5, 300])
def test_quantiles_of_students_t_are_scipys(degrees_of_freedom, alpha):
    true = t.ppf(1 - alpha / 2, degrees_of_freedom)
    assert true * 0.999 <= student_t_quantile(degrees_of_freedom, alpha) <= true * 1.05


def test_quantiles_of_students_t_are_finite_for_any_probability():
    assert student_t_quantile(5, 1e-200) > 1e6
