"""Scores of maps and gates whose agreement with the lesions is known."""

import numpy as np
import pytest

from darnet_trt.training.ablation.explanation.lesions import mean_score, score_lesions
from darnet_trt.training.ablation.explanation.regions import Regions

SHAPE, CELLS = (25, 81, 81), (4, 6, 6)
LESION = (slice(14, 19), slice(30, 46), slice(14, 30))  # around cell 2, 2 or 3, 1


@pytest.fixture
def regions():
    lungs, lesions = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    lungs[4:21, 10:70, 8:40] = 1
    lesions[LESION] = 1
    return Regions(lungs, lesions)


def hot(*cell):
    cam = np.full(CELLS, -1.0, np.float32)
    cam[cell] = 4
    return cam


def test_evidence_at_the_lesion_scores_above_evidence_elsewhere(regions):
    there, elsewhere = (score_lesions(hot(*c), (), regions) for c in ((2, 2, 1), (1, 1, 1)))
    assert there.hottest_touches == 1
    assert elsewhere.hottest_touches == 0
    assert there.energy_in_lesions > 0.3
    assert elsewhere.energy_in_lesions < 0.05
    outside = score_lesions(hot(0, 0, 5), (), regions)
    assert outside.energy_in_lungs == 0


def test_an_even_map_has_the_shares_of_the_volume(regions):
    even = score_lesions(np.ones(CELLS, np.float32), (), regions)
    assert even.energy_in_lungs == pytest.approx(regions.lungs.mean())
    assert even.energy_in_lesions == pytest.approx(regions.lesions.mean())
    assert even.lesions_of_lungs == pytest.approx(5 * 16 * 16 / (17 * 60 * 32))
    assert 0 < even.by_chance < 1


def test_no_evidence_has_no_share(regions):
    none = score_lesions(np.full(CELLS, -1, np.float32), (), regions)
    assert np.isnan(none.energy_in_lesions)
    mean = mean_score([none, score_lesions(hot(2, 2, 1), (), regions)])
    assert mean.energy_in_lesions > 0.3


@pytest.mark.parametrize(("depth", "step"), [(25, 1), (13, 2), (7, 4), (4, 8)])
def test_gates_that_follow_the_lesions_correlate_with_their_area(regions, depth, step):
    area = regions.lesions.sum((1, 2))
    places = step * np.arange(depth)
    near = [area[max(p - step + 1, 0) : p + step].mean() for p in places]
    gates = np.array(near, np.float32) / max(near)
    found = score_lesions(
        hot(2, 2, 1), (gates, 1 - gates, np.full(depth, 0.5, np.float32)), regions
    )
    assert found.gates[0] > 0.8
    assert found.gates[1] < -0.8
    assert np.isnan(found.gates[2])
