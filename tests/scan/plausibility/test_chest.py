"""Scans with too little aerated lung, or more than any person has, are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.scan.plausibility.chest import judge_chest, measure_lungs
from tests.scan.series_factory import chest


def test_volume_of_a_known_lung():
    hu = np.full((40, 60, 60), -1000, np.float32)
    hu[:, 10:50, 5:55] = 30
    hu[5:35, 20:40, 15:45] = -800
    lungs = measure_lungs(hu, (5, 5, 5))
    assert lungs.volume_l == pytest.approx(30 * 20 * 30 * 0.125 / 1000)
    assert lungs.extent_mm == 150
    assert lungs.coverage_mm == 200
    assert not lungs.cut_above
    assert not lungs.cut_below


@settings(max_examples=25, deadline=None)
@given(flips=st.tuples(*[st.booleans()] * 3), seed=st.integers(0, 5))
def test_flips_change_nothing(flips, seed):
    hu = chest(16, 40, seed).astype(np.float32)
    flipped = np.flip(hu, [axis for axis in range(3) if flips[axis]])
    ours, theirs = measure_lungs(hu, (10, 8, 8)), measure_lungs(flipped, (10, 8, 8))
    assert ours.volume_l == theirs.volume_l
    assert ours.extent_mm == theirs.extent_mm


def test_spiral_passages_to_the_outside_are_outside():
    hu = np.full((12, 41, 41), 30, np.float32)
    hu[:, 1:40, 1] = hu[:, 39, 1:40] = hu[:, 3:40, 39] = hu[:, 3, 3:40] = hu[:, 3:37, 3] = -800
    hu[:, 0, 1] = -800
    assert measure_lungs(hu, (5, 5, 5)).volume_l == 0


def test_bowel_gas_is_not_lung():
    hu = np.full((40, 60, 60), -1000, np.float32)
    hu[:, 10:50, 5:55] = 30
    hu[5:35, 20:40, 15:45] = -1000
    refusal, _ = judge_chest(measure_lungs(hu, (5, 5, 5)))
    assert refusal is not None
    assert "not a chest: 0.00 litres" in refusal


def body(lung):
    hu = np.full((60, 60, 60), -1000, np.float32)
    hu[:, 10:50, 5:55] = 30
    hu[lung] = -800
    return measure_lungs(hu, (5, 5, 5))


@pytest.mark.parametrize(
    ("lung", "usable", "remark"),
    [
        (np.s_[10:55, 15:45, 10:50], True, ""),
        (np.s_[10:55, 25:35, 25:40], True, "0.84 litres"),  # consolidated, but a chest
        (np.s_[10:55, 30:34, 25:35], False, "not a chest: 0.23 litres"),
        (np.s_[48:60, 15:45, 10:50], False, "1.80 litres of aerated lung over 60 mm"),
        (np.s_[20:60, 15:45, 10:50], True, "at the top"),
        (np.s_[0:60, 15:45, 10:50], True, "at the top and bottom"),
    ],
)
def test_limits(lung, usable, remark):
    refusal, warnings = judge_chest(body(lung))
    assert (refusal is None) == usable
    assert remark in (refusal or " ".join(warnings))


def test_more_lung_than_any_person_has():
    hu = np.full((60, 60, 60), -1000, np.float32)
    hu[:, 10:50, 5:55] = 30
    hu[10:55, 15:45, 10:50] = -800
    refusal, _ = judge_chest(measure_lungs(hu, (5, 8, 8)))
    assert refusal is not None
    assert "17.28 litres" in refusal
    assert "at most 12 litres" in refusal
