from functools import partial

import numpy as np
import pytest

from benchmarks.bench.runners import SHAPES, STEADY, drifting, wandering
from darnet_trt.runtime.bench.statistics.drift import drift


def labelled(draw, n, runs=100):
    runs = draw(np.random.default_rng(7), runs, n)
    return np.mean([drift(one).verdict == "drifting" for one in runs])


@pytest.mark.parametrize("shape", SHAPES)
def test_drift_is_labelled(shape):
    assert labelled(partial(drifting, shape=shape, change=0.1), 100) >= 0.95
    assert labelled(partial(drifting, shape=shape, change=0.05), 300) >= 0.95


@pytest.mark.parametrize("name", STEADY)
def test_steady_runners_are_not(name):
    assert labelled(STEADY[name], 300) <= 0.05


def test_a_change_that_does_not_matter_is_no_drift():
    times = np.linspace(20, 20.1, 1000)
    assert drift(times).verdict == "steady"
    assert drift(times).change == pytest.approx(0.004, rel=0.01)


def test_few_samples_are_not_judged():
    assert drift(np.linspace(1, 2, 19)).verdict == "too few"
    assert drift(np.linspace(1, 2, 20)).verdict == "drifting"


def test_a_random_walk_is_not_called_steady():
    for n in (100, 300):
        walks = wandering(np.random.default_rng(7), 100, n, change=0.1)
        assert np.mean([drift(one).verdict == "steady" for one in walks]) <= 0.05


def test_times_that_stay_alike_for_long_are_too_few_samples_to_say():
    runs = STEADY["AR(1) 0.9"](np.random.default_rng(7), 100, 100)
    assert np.mean([drift(one).verdict == "too few" for one in runs]) >= 0.9


def test_equal_samples_are_steady():
    assert drift(np.full(50, 7.0)).verdict == "steady"


def test_the_change_is_that_of_the_median():
    found = drift(np.repeat([20.0, 22.0], 100))
    assert (found.verdict, found.change) == ("drifting", pytest.approx(0.1))
