"""Scans with too little aerated lung, or more than any person has, are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.scan.plausibility.chest import judge_chest
from tests.scan.series_factory import chest


def judge(lung, lung_hu=-800, pixel_mm=5):
    """Judge a body of 60 slices 5 mm apart with one lung."""
    hu = np.full((60, 60, 60), -1000, np.float32)
    hu[:, 10:50, 5:55] = 30
    hu[lung] = lung_hu
    return judge_chest(hu, (5, pixel_mm, pixel_mm))


@settings(max_examples=25)
@given(flips=st.tuples(*[st.booleans()] * 3), seed=st.integers(0, 5))
def test_flips_change_nothing(flips, seed):
    hu = chest(16, 40, seed).astype(np.float32)
    flipped = np.flip(hu, [axis for axis in range(3) if flips[axis]])
    ours, theirs = judge_chest(hu, (9, 7, 7)), judge_chest(flipped, (9, 7, 7))
    assert "litres of aerated lung" in ours[1][0]
    assert ours == theirs


def test_spiral_passages_to_the_outside_are_outside():
    hu = np.full((12, 41, 41), 30, np.float32)
    hu[:, 1:40, 1] = hu[:, 39, 1:40] = hu[:, 3:40, 39] = hu[:, 3, 3:40] = hu[:, 3:37, 3] = -800
    hu[:, 0, 1] = -800
    refusal, _ = judge_chest(hu, (5, 5, 5))
    assert refusal is not None
    assert "0.00 litres" in refusal


def test_bowel_gas_is_not_lung():
    refusal, _ = judge(np.s_[5:35, 20:40, 15:45], lung_hu=-1000)
    assert refusal is not None
    assert "not a chest: 0.00 litres" in refusal


@pytest.mark.parametrize(
    ("lung", "usable", "remark"),
    [
        (np.s_[10:55, 15:45, 10:50], True, ""),
        (np.s_[10:55, 25:35, 25:40], True, "0.84 litres"),  # consolidated, but a chest
        (np.s_[10:55, 30:34, 25:35], False, "not a chest: 0.23 litres"),
        (
            np.s_[48:60, 15:45, 10:50],
            False,
            "1.80 litres of aerated lung over 60 mm in a scan",
        ),
        (np.s_[20:60, 15:45, 10:50], True, "at the top"),
        (np.s_[0:60, 15:45, 10:50], True, "at the top and bottom"),
    ],
)
def test_limits(lung, usable, remark):
    refusal, warnings = judge(lung)
    assert (refusal is None) == usable
    assert remark in (refusal or " ".join(warnings))
    assert remark or not warnings


def test_more_lung_than_any_person_has():
    refusal, _ = judge(np.s_[10:55, 15:45, 10:50], pixel_mm=8)
    assert refusal is not None
    assert "17.28 litres" in refusal
    assert "at most 12 litres" in refusal
