import pytest

from darnet_trt.runtime.bench.report.numbers import count, interval, number, quantile
from darnet_trt.runtime.bench.report.schema import Quantile


@pytest.mark.parametrize(
    ("value", "text"),
    [(1432.4, "1 432"), (143.24, "143"), (14.32, "14.3"), (1.4324, "1.43"), (0.05123, "0.0512")],
)
def test_three_digits_or_all_before_the_point(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1432.1, 1419.8, 1450.9, "1 432 (1 420 to 1 451)"),
        (143.21, 142.84, 143.61, "143.2 (142.8 to 143.6)"),
        (5.1234, 5.1199, 5.1263, "5.123 (5.120 to 5.126)"),
        (9.97, 9.9, 10.31, "9.97 (9.90 to 10.31)"),
        (20.0, 20.0, 20.0, "20.0 (20.0 to 20.0)"),
        (2.02, None, None, "2.02"),
    ],
)
def test_the_ends_of_an_interval_can_be_told_apart(value, low, high, text):
    assert interval(value, low, high) == text


def test_a_quantile_of_too_few_samples_is_their_number():
    few = Quantile(percent=99, value_ms=None, low_ms=None, high_ms=None, needed=2990)
    assert quantile(few) == "needs 2 990"
    assert count(9) == "9"
