"""Histograms of magnitudes: what numpy counts, merged without loss."""

from functools import reduce

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from darnet_trt.calibration.activations.histogram import BINS, merge, statistics_of

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
ELEMENTS = arrays(np.float32, st.integers(1, 40), elements=FLOATS)


def of(elements):
    return statistics_of(elements, float(elements.min()), float(elements.max()))


def same(a, b):
    return (
        (a.smallest, a.largest, a.not_finite, a.exponent)
        == (b.smallest, b.largest, b.not_finite, b.exponent)
    ) and (a.counts == b.counts).all()


@given(ELEMENTS)
def test_counts_agree_with_numpy(elements):
    found = of(elements)
    expected, _ = np.histogram(np.abs(elements).astype(np.float64), found.edges)
    assert (found.counts == expected).all()
    assert found.magnitude == np.abs(elements).max() < found.edges[-1]
    assert found.signed == (elements < 0).any()


@given(st.lists(ELEMENTS, min_size=2, max_size=5), st.randoms())
def test_merging_is_exact_in_any_order(scans, random):
    whole = of(np.concatenate(scans))
    random.shuffle(scans)
    assert same(reduce(merge, map(of, scans)), whole)
    first, *rest = scans
    assert same(merge(of(first), reduce(merge, map(of, rest))), whole)


@given(arrays(np.float32, 30, elements=st.floats(-8, 8, width=32)), st.integers(-60, 60))
def test_scaling_by_a_power_of_two_moves_only_the_edges(elements, power):
    elements = np.where(np.abs(elements) < 2**-20, np.float32(1), elements)
    found, scaled = of(elements), of(elements * np.float32(2.0**power))
    assert (found.counts == scaled.counts).all()
    assert scaled.exponent == found.exponent + power


def test_a_map_of_many_elements_in_any_layout():
    maps = np.random.default_rng(0).standard_normal((3, 50, 41, 37), np.float32)
    found = of(maps)
    assert found.counts.sum() == maps.size
    assert same(found, of(maps.transpose(0, 3, 1, 2)))
    expected, _ = np.histogram(np.abs(maps).astype(np.float64), found.edges)
    assert (found.counts == expected).all()


def test_at_least_half_of_the_bins_are_used():
    for largest in (1e-30, 0.7, 1.0, 1.0001, 3e38):
        found = of(np.array([0, largest], np.float32))
        assert BINS / 2 <= np.flatnonzero(found.counts)[-1] < BINS


def test_a_sample_keeps_the_extremes_of_all():
    found = statistics_of(np.array([0.5, 1], np.float32), -3.0, 2.0)
    assert (found.smallest, found.largest, found.magnitude) == (-3, 2, 3)
    assert found.counts.sum() == 2


def test_nan_and_infinity_are_counted_together():
    broken = statistics_of(np.array([1, 2], np.float32), 1.0, 2.0, not_finite=3)
    assert merge(broken, of(np.array([7], np.float32))).not_finite == 3


def test_only_zeros():
    found = of(np.zeros(5, np.float32))
    assert found.magnitude == 0
    assert found.counts[0] == 5
    assert same(merge(found, of(np.ones(2, np.float32))), of(np.array([0] * 5 + [1] * 2, "f4")))
