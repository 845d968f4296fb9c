import numpy as np
import pytest

from darnet_trt.runtime.bench.statistics.undisturbed import UndisturbedRatio


def rounds(level, count=40, seed=0, disturbed=0.0):
    """Times with noise of 1 %; another process lengthens some of them."""
    rng = np.random.default_rng(seed)
    lengthened = np.where(rng.random(count) < disturbed, rng.uniform(1.3, 3, count), 1)
    return (level * rng.lognormal(0, 0.01, count) * lengthened).tolist()


def test_the_ratio_of_two_undisturbed_runs():
    ratio = UndisturbedRatio([rounds(21, seed=1)], [rounds(20, seed=2)])
    low, high = ratio.interval()
    assert low < 1.05 < high
    assert high - low < 0.03
    assert ratio.value == pytest.approx(1.05, abs=0.01)


def test_disturbed_rounds_hardly_move_it():
    ratio = UndisturbedRatio([rounds(21, seed=1, disturbed=0.5)], [rounds(20, seed=2)])
    assert ratio.value == pytest.approx(1.05, abs=0.015)


def test_it_is_proportional_to_some_and_inversely_to_others():
    ratio = UndisturbedRatio([[4.0] * 30, [3.0] * 30], [[2.0] * 30, [1.0] * 30])
    assert ratio.value == pytest.approx(6)
    assert ratio.interval() == pytest.approx((6, 6))


def test_exchanging_the_runs_inverts_it():
    first, second = rounds(20, seed=1, disturbed=0.3), rounds(23, seed=2)
    there, back = UndisturbedRatio([second], [first]), UndisturbedRatio([first], [second])
    assert there.value == pytest.approx(1 / back.value)
    low, high = back.interval()
    assert there.interval() == pytest.approx((1 / high, 1 / low))


def test_more_runs_make_it_less_certain():
    def width(ratio):
        low, high = ratio.interval()
        return high / low

    one, other = rounds(20, seed=1), rounds(20, seed=2)
    yards = rounds(5, seed=3), rounds(5, seed=4)
    assert width(UndisturbedRatio([one, yards[0]], [other, yards[1]])) > width(
        UndisturbedRatio([one], [other])
    )


@pytest.mark.parametrize(("count", "alpha", "given"), [(13, 0.05, False), (14, 0.05, True)])
def test_it_takes_rounds_to_have_an_interval(count, alpha, given):
    ratio = UndisturbedRatio([rounds(21, count)], [rounds(20, 40)])
    assert (ratio.interval(alpha) is not None) == given
    assert ratio.interval(alpha / 1000) is None


@pytest.mark.parametrize("disturbed", [0.0, 0.5])
@pytest.mark.parametrize("alpha", [0.3, 0.05])
def test_the_interval_misses_as_often_as_it_says(disturbed, alpha):
    ratios = [
        UndisturbedRatio(
            [rounds(20, 60, 2 * seed, disturbed)], [rounds(20, 60, 2 * seed + 1, disturbed)]
        )
        for seed in range(300)
    ]
    missed = sum(not low <= 1 <= high for low, high in (one.interval(alpha) for one in ratios))
    assert missed / 300 <= alpha + 0.03
