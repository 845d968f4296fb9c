"""A short form of the simulation, with limits as wide as so few runs need."""

import pytest

from benchmarks.bench.intervals import (
    bootstrap_coverage,
    coverage,
    decisions,
    ratio_coverage,
    targets,
)
from benchmarks.bench.runners import STEADY

RUNS = 200
HELD = (0.89, 0.99)


@pytest.mark.parametrize("name", STEADY)
def test_intervals_hold_the_true_quantile(name):
    n = 3000 if name == "AR(1) 0.9" else 300
    found = coverage(name, n, RUNS, seed=0)
    assert found["drifting"] <= 0.05
    assert found["given 50"] >= 0.9
    for percent in (50, 90, 95, 99):
        if found[f"given {percent}"] > 0.5:
            assert HELD[0] <= found[f"held {percent}"] <= HELD[1], percent


def test_few_dependent_samples_get_no_interval():
    assert coverage("AR(1) 0.9", 30, RUNS, seed=0)["given 50"] <= 0.05


@pytest.mark.parametrize("kind", ["paired", "undisturbed"])
@pytest.mark.parametrize("name", ["Gaussian", "Pareto outliers", "AR(1) 0.5"])
def test_intervals_hold_the_true_ratio(name, kind):
    found = ratio_coverage(name, 300, RUNS, seed=0)
    assert found[f"given {kind}"] >= 0.95
    assert HELD[0] <= found[f"held {kind}"] <= HELD[1]


def test_the_block_bootstrap_covers_less():
    assert bootstrap_coverage("AR(1) 0.9", 300, 100, seed=0)[0] < 0.9


def test_five_percent_slower_is_found_and_equal_runners_are_not_called_slower():
    assert decisions(1.05, 1.025, 40, seed=0)["above"] >= 38 / 40
    same = decisions(1, 1.025, 40, seed=0)
    assert same["above"] <= 2 / 40
    assert same["means"] > 2 / 40


def test_the_cells_that_are_furthest_off_are_judged():
    held = {"a": 95.1, "b": 93.0, "c": 97.1}
    shares = {"step": 99.0, "trend": 94.9, "random walk, n 100": 65.0, "random walk, n 300": 95.0}
    least, most, seldom = targets(held, shares)
    assert (least.found, least.reached) == (93.0, True)
    assert (most.found, most.reached) == (97.1, False)
    assert (seldom.found, seldom.reached) == (65.0, False)
    assert "(c)" in most.what
