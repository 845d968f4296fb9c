"""Intervals by drawing patients: with their scans, and also where a measure is rarely defined."""

import math

import numpy as np
import pytest

from darnet_trt.evaluation.bootstrap import bootstrap_each
from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.scan.cohorts import PAPER_CLASSES

RIGHT = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1] * 5, float)


def bootstrap(measure, patients, **options):
    """The ends of one measure's interval; nan where it has none."""
    found = bootstrap_each(lambda drawn: {"": measure(drawn)}, patients, **options)
    return found.get("", (math.nan, math.nan))


def test_patients_are_drawn_with_all_their_scans():
    patients = ["b", "a", "b", "c"]

    def whole(drawn: np.ndarray) -> float:
        counts = np.bincount(drawn, minlength=4)
        assert counts[0] == counts[2]
        return float(counts[0])

    bootstrap(whole, patients, draws=200)


def test_the_same_seed_gives_the_same_interval_that_holds_the_measure():
    patients = [str(n // 2) for n in range(60)]
    ends = bootstrap(lambda drawn: RIGHT[drawn].mean(), patients)
    assert ends == bootstrap(lambda drawn: RIGHT[drawn].mean(), patients)
    assert ends[0] < RIGHT.mean() < ends[1]
    narrow = bootstrap(lambda drawn: RIGHT[drawn].mean(), patients, level=0.5)
    assert ends[0] < narrow[0] < narrow[1] < ends[1]


def test_copies_of_a_scan_do_not_narrow_the_interval():
    patients = [str(n) for n in range(60)]
    single = bootstrap(lambda drawn: RIGHT[drawn].mean(), patients)
    copied = np.repeat(RIGHT, 5)
    many = bootstrap(lambda drawn: copied[drawn].mean(), np.repeat(patients, 5).tolist())
    assert many == pytest.approx(single, abs=0.02)


def test_one_patient_has_no_interval():
    assert all(map(math.isnan, bootstrap(lambda drawn: RIGHT[drawn].mean(), ["a"] * 60)))


def test_draws_without_a_value_are_left_out():
    # one covid-19 scan of eight: a third of the draws have none
    logits = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 1, 2, 1, 2, 1])
    patients = [str(n) for n in range(8)]
    found = bootstrap_each(
        lambda drawn: evaluate(logits[drawn], labels[drawn], PAPER_CLASSES), patients, draws=100
    )
    assert 0 <= found["auc"][0] <= found["auc"][1] <= 1


def test_a_measure_that_few_draws_define_has_no_interval():
    patients = [str(n) for n in range(60)]

    def rare(drawn: np.ndarray) -> float:
        return RIGHT[drawn].mean() if {0, 1, 2, 3} <= set(drawn.tolist()) else math.nan

    assert all(map(math.isnan, bootstrap(rare, patients, draws=200)))


def test_a_measure_that_all_scans_leave_undefined_has_no_interval():
    assert bootstrap_each(lambda drawn: {"x": math.nan}, ["a", "b", "c"], draws=50) == {}


def test_intervals_hold_the_truth():
    """The cheap twin of `benchmarks/evaluation/coverage.py`: a share, two scans a patient."""
    rng = np.random.default_rng(0)
    held = 0
    patients = [str(n // 2) for n in range(80)]
    for _ in range(100):
        right = (rng.random(40) < 0.8).repeat(2).astype(float)
        low, high = bootstrap(lambda drawn, right=right: right[drawn].mean(), patients, draws=100)
        held += low <= 0.8 <= high
    assert 0.88 <= held / 100 <= 0.99
