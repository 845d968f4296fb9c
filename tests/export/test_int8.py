"""What is chosen on which scans."""

import json
from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.calibration.data import CalibrationScans, HeldOut
from darnet_trt.export.graph import build_graph
from darnet_trt.export.int8 import Search, calibrate, gather
from darnet_trt.export.parity import NOT_FINITE
from darnet_trt.export.weights import folded

SEARCH = Search(method="mse", backend="onnxruntime")


@pytest.fixture(scope="module")
def graphs(source):
    weights, network = folded(source.checkpoint.model()), source.checkpoint.network
    return {p: build_graph(network, weights, p, {"precision": p}) for p in ("fp32", "fp16")}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def beyond_float16(source):
    """Graphs of a network whose last sums float16 cannot hold."""
    weights, network = folded(source.checkpoint.model()), source.checkpoint.network
    weights["stages.3.1.bn1.bias"] = np.full_like(weights["stages.3.1.bn1.bias"], 60000)
    return {p: build_graph(network, weights, p, {"precision": p}) for p in ("fp32", "fp16")}


def scans(source, seed, count):
    draw = np.random.default_rng(seed)
    size = source.checkpoint.network.input_size
    return tuple(draw.random((1, *size), np.float32) for _ in range(count))


def calibrated(graphs, source, forms, judges, search=SEARCH):
    chosen = CalibrationScans(scans(source, 0, 2), "2 drawn", None, "a digest")
    held_out = HeldOut(scans(source, judges, 3), None, f"3 drawn by {judges}")
    wanted = {form: graphs["fp32" if form == "u8" else "fp16"] for form in forms}
    found = gather(graphs["fp32"], chosen, None, lambda line: None)
    return calibrate(graphs["fp32"], found, wanted, chosen, held_out, search, lambda line: None)


def test_the_scans_that_judge_choose_nothing(graphs, source):
    one, other = (calibrated(graphs, source, ["u8"], judges)["u8"] for judges in (1, 2))
    assert one.report == other.report
    assert one.ranges == other.ranges
    assert one.decisions != other.decisions
    assert one.decisions.source == "3 drawn by 1"


def test_only_what_is_wanted_is_searched(graphs, source):
    assert list(calibrated(graphs, source, ["s8"], 1)) == ["s8"]
    both = calibrated(graphs, source, ["u8", "s8"], 1)
    assert list(both) == ["u8", "s8"]
    assert both["u8"].report.errors != both["s8"].report.errors


def test_the_decisions_are_in_the_file(graphs, source):
    found = calibrated(graphs, source, ["s8"], 1)["s8"]
    content = json.loads(found.as_json())
    assert content["decisions"]["source"] == "3 drawn by 1"
    assert content["trials"] == {"0": []}


def test_an_overflow_in_float16_is_a_failure_that_json_can_hold(beyond_float16, source):
    no_time = replace(SEARCH, seconds=-1.0)
    found = calibrated(beyond_float16, source, ["s8"], 1, no_time)["s8"]
    assert found.decisions.failures[0].startswith("NaN or infinity came out for 3 of 3 scans")
    content = json.loads(found.as_json(), parse_constant=pytest.fail)
    assert content["errors"] == {"mse": NOT_FINITE}
    assert content["trials"]["0"] == list(found.decisions.failures)
