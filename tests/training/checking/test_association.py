"""Traits that go with a class are found; those that do not are not called so."""

import math

import numpy as np
import pytest

from darnet_trt.training.checking.association import CHANCE, judge

LABELS = np.arange(120) % 3


def group(*counts, labels=LABELS):
    """Patients: so many of each class."""
    members = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members[np.flatnonzero(labels == label)[:count]] = True
    return members


@pytest.mark.parametrize(
    ("counts", "odd", "telling"),
    [
        ((4, 0, 0), True, True),  # 10 % of one class
        ((4, 0, 0), False, False),
        ((2, 0, 0), True, False),
        ((4, 1, 0), True, False),
        ((4, 4, 4), True, False),
        ((24, 3, 3), False, True),
        ((0, 0, 25), False, True),
        ((20, 16, 14), False, False),
    ],
)
def test_a_group_tells_a_class_where_chance_does_not_explain_it(counts, odd, telling):
    (verdict,), _ = judge([(group(*counts), odd)], [], LABELS)
    assert verdict.telling == telling
    if telling:
        assert verdict.label == np.argmax(counts)


def test_four_of_forty_of_two_classes_count_too():
    labels = np.arange(80) % 2
    (verdict,), _ = judge([(group(4, labels=labels), True)], [], labels)
    assert verdict.telling
    assert verdict.chance == pytest.approx(2 * math.comb(40, 4) / math.comb(80, 4), rel=1e-6)


def test_numbers_of_classes_are_compared():
    rng = np.random.default_rng(1)
    alike, shifted = rng.normal(size=120), rng.normal(size=120) + 1.5 * (LABELS == 2)
    unknown = np.full(120, np.nan)
    _, verdicts = judge([], [alike, shifted, unknown, np.ones(120)], LABELS)
    assert [v.telling for v in verdicts] == [False, True, False, False]
    assert verdicts[1].label == 2


def test_looking_often_finds_no_more():
    rng = np.random.default_rng(2)
    called = 0
    for _ in range(5):
        groups = [(rng.random(120) < share, False) for share in (0.05, 0.1, 0.3, 0.5) * 3]
        of_groups, of_numbers = judge(groups, list(rng.normal(size=(8, 120))), LABELS)
        called += any(v.telling for v in (*of_groups, *of_numbers))
    assert called == 0, f"expected once in {1 / CHANCE:.0f} cohorts"


def test_one_class_and_no_trait_say_nothing():
    assert judge([], [], LABELS) == ([], [])
    (verdict,), _ = judge([(np.arange(9) < 4, True)], [], np.zeros(9, int))
    assert not verdict.telling
