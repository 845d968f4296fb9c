import numpy as np
import pytest

from darnet_trt.runtime.bench.statistics.decision import ALPHA, SequentialTest, error_spent
from darnet_trt.runtime.bench.statistics.ratios import Ratio, paired_ratio


def ratio(value, log_standard_error=0.001, degrees_of_freedom=100.0):
    return Ratio(value, log_standard_error, degrees_of_freedom, 100)


def test_the_looks_spend_the_error_and_no_more():
    parts = np.linspace(0, 1, 101)
    shares = [error_spent(part) for part in parts]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1], error_spent(2)) == pytest.approx((0, ALPHA, ALPHA))
    assert shares[50] < ALPHA / 10


@pytest.mark.parametrize(("value", "verdict"), [(1.2, "above"), (1.05, None), (1.0, "below")])
def test_a_ratio_far_from_the_limit_is_decided(value, verdict):
    assert SequentialTest(1.05).look(ratio(value), 0.5) == verdict


def test_nothing_is_decided_before_there_is_an_error_to_spend():
    assert SequentialTest(1.05).look(ratio(9.0), 0.0) is None
    looks = SequentialTest(1.05)
    assert looks.look(ratio(9.0), 1.0) == "above"
    assert looks.look(ratio(9.0), 1.0) is None  # all is spent


def test_an_early_look_asks_for_more():
    doubtful = ratio(1.05 * np.exp(0.0025))
    assert SequentialTest(1.05).look(doubtful, 0.2) is None
    assert SequentialTest(1.05).look(doubtful, 1.0) == "above"


def test_too_few_rounds_decide_nothing():
    assert SequentialTest(1.05).look(paired_ratio([20.0, 20.0], [40.0, 40.0]), 1.0) is None


def test_looking_often_is_wrong_no_more_often():
    rng = np.random.default_rng(0)
    runs = np.exp(0.02 * rng.normal(size=(2, 300, 400)))
    wrong = 0
    for first, second in zip(*runs, strict=True):
        looks = SequentialTest(1.0)
        parts = np.linspace(0.05, 1, 20)
        found = [
            looks.look(paired_ratio(first[:n], second[:n]), n / 400)
            for n in (400 * parts).astype(int)
        ]
        wrong += "above" in found
    assert wrong / 300 <= ALPHA + 0.015
