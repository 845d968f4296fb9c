"""Which scans choose the ranges and layers, and which judge them."""

import json

import numpy as np
import pytest

from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.calibration.search.search import Search, calibrate, gather
from tests.export.networks import TINY

SEARCH = Search(method="mse", backend="onnxruntime")


pytestmark = pytest.mark.usefixtures("cache")


def scans(seed, count):
    draw = np.random.default_rng(seed)
    return tuple(draw.random((1, *TINY.input_size), np.float32) for _ in range(count))


def calibrated(model, forms, judges):
    calibrating, judging = scans(0, 2), scans(judges, 3)
    chosen = CalibrationScans(calibrating, "2 drawn", tuple(map(hashed, calibrating)))
    held_out = HeldOut(judging, None, f"3 drawn by {judges}", tuple(map(hashed, judging)))
    found = gather(model, chosen, None, lambda line: None)
    return calibrate(model, found, forms, chosen, held_out, SEARCH, lambda line: None)


def test_the_scans_that_judge_choose_nothing(model):
    one, other = (calibrated(model, ["u8"], judges)["u8"] for judges in (1, 2))
    assert one.report == other.report
    assert one.ranges == other.ranges
    assert one.decisions != other.decisions
    assert one.decisions.source == "3 drawn by 1"


def test_only_the_wanted_forms_are_searched(model):
    assert list(calibrated(model, ["s8"], 1)) == ["s8"]
    both = calibrated(model, ["u8", "s8"], 1)
    assert list(both) == ["u8", "s8"]
    assert both["u8"].report.errors != both["s8"].report.errors


def test_the_decisions_are_in_the_file(model):
    found = calibrated(model, ["s8"], 1)["s8"]
    content = json.loads(found.as_json())
    assert content["decisions"]["source"] == "3 drawn by 1"
    assert content["trials"] == {"0": []}
