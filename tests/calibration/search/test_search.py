"""What is chosen on which scans."""

import json

import numpy as np
import pytest

from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.search.search import Search, calibrate, gather
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded

SEARCH = Search(method="mse", backend="onnxruntime")


@pytest.fixture(scope="module")
def model(source):
    weights = folded(source.checkpoint.model())
    return build_graph(source.checkpoint.network, weights, "fp32", {"precision": "fp32"})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def scans(source, seed, count):
    draw = np.random.default_rng(seed)
    size = source.checkpoint.network.input_size
    return tuple(draw.random((1, *size), np.float32) for _ in range(count))


def calibrated(model, source, forms, judges):
    chosen = CalibrationScans(scans(source, 0, 2), "2 drawn", None, "a digest")
    held_out = HeldOut(scans(source, judges, 3), None, f"3 drawn by {judges}")
    found = gather(model, chosen, None, lambda line: None)
    return calibrate(model, found, forms, chosen, held_out, SEARCH, lambda line: None)


def test_the_scans_that_judge_choose_nothing(model, source):
    one, other = (calibrated(model, source, ["u8"], judges)["u8"] for judges in (1, 2))
    assert one.report == other.report
    assert one.ranges == other.ranges
    assert one.decisions != other.decisions
    assert one.decisions.source == "3 drawn by 1"


def test_only_what_is_wanted_is_searched(model, source):
    assert list(calibrated(model, source, ["s8"], 1)) == ["s8"]
    both = calibrated(model, source, ["u8", "s8"], 1)
    assert list(both) == ["u8", "s8"]
    assert both["u8"].report.errors != both["s8"].report.errors


def test_the_decisions_are_in_the_file(model, source):
    found = calibrated(model, source, ["s8"], 1)["s8"]
    content = json.loads(found.as_json())
    assert content["decisions"]["source"] == "3 drawn by 1"
    assert content["trials"] == {"0": []}
