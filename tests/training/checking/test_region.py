"""What is left of a scan does not show the disease."""

import numpy as np
import pytest

from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.preprocessing import Preprocessing, preprocess
from darnet_trt.training.checking.reading import SIZE
from darnet_trt.training.checking.region import inside

SPEC = Preprocessing(size=SIZE)


@pytest.mark.parametrize("seed", range(4))
def test_one_person_looks_the_same_whatever_the_disease(seed):
    left = []
    for label in PAPER_CLASSES:
        view = preprocess(SPEC, synthesize(label, (5, seed), matrix=64, slices=(30, 30)))[0]
        left.append(view * ~inside(view, 0.633))
    assert np.array_equal(left[0], left[1])
    assert np.array_equal(left[0], left[2])
    assert 0.25 < (left[0] != 0).mean() < 0.6


def test_a_scan_without_a_body_is_blank():
    assert inside(np.zeros((4, 8, 8), np.float32), 0.5).all()
    full = inside(np.ones((4, 8, 8), np.float32), 0.5)
    assert full[4, 4]
    assert not full[0, 0]
