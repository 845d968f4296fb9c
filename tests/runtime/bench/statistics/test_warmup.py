from functools import partial

import numpy as np
import pytest

from benchmarks.bench.runners import STEADY, warming
from darnet_trt.runtime.bench.statistics.warmup import warm_up


def measured(times):
    """Judge after each sample, until it has settled."""
    judged = (warm_up(times[:n]) for n in range(1, len(times) + 1))
    return next((one for one in judged if one.settled), None)


def runs(draw, n=400, count=10):
    return draw(np.random.default_rng(5), count, n)


@pytest.mark.parametrize("constant", [3, 10, 30])
def test_a_warm_up_is_left_out(constant):
    for times in runs(partial(warming, constant=constant)):
        found = measured(times)
        assert 0.3 * np.exp(-found.start / constant) < 0.03


@pytest.mark.parametrize("name", STEADY)
def test_a_steady_runner_settles_soon(name):
    assert all(measured(times) for times in runs(STEADY[name]))


def test_a_precise_runner_needs_few_samples():
    assert measured(np.full(20, 3.0)).start == 6
    assert not warm_up([3.0] * 11).settled


def test_a_rising_runner_never_settles():
    assert measured(np.linspace(1, 3, 300)) is None
    assert warm_up(np.linspace(1, 3, 300)).start == 300
