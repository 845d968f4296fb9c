"""Trials run an engine once and remember what it said."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from darnet_trt.calibration.qdq import Range, convolutions, quantized_tensors
from darnet_trt.export.int8_trials import Trials
from darnet_trt.export.onnx_export import export_onnx


@pytest.fixture(scope="module")
def model(source, tmp_path_factory):
    file = tmp_path_factory.mktemp("trials") / "model.onnx"
    export_onnx(source, file)
    return onnx.load(file)


@pytest.fixture(scope="module")
def scans(source):
    draw = np.random.default_rng(0)
    return [draw.random((1, *source.checkpoint.network.input_size), np.float32) for _ in range(2)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def ranges(model):
    tensors = quantized_tensors(model, convolutions(model))
    return {name: Range(4.0, name.endswith("bn2.out")) for name in tensors}


def nothing_runs(self, ranges, layers):
    pytest.fail("an engine ran for what is known")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_engine_runs_once_for_the_same_question(model, scans, cache, backend, monkeypatch):
    layers = frozenset(convolutions(model)[:3])
    trials = Trials(model, scans, backend)
    got = trials.logits(ranges(model), layers)
    assert got.shape == (2, 3)
    assert 0 < trials.error(ranges(model), layers) < 0.2
    assert trials.error(ranges(model), frozenset()) == 0
    monkeypatch.setattr(Trials, "_run", nothing_runs)
    again = Trials(model, scans, backend)
    np.testing.assert_array_equal(again.logits(ranges(model), layers), got)


def test_another_question_is_asked_again(model, scans, cache):
    layers = frozenset(["stem.0"])
    known = ranges(model)
    trials = Trials(model, scans, "openvino")
    got = trials.logits(known, layers)
    wider = known | {"input": replace(known["input"], largest=40.0)}
    assert not np.array_equal(trials.logits(wider, layers), got)
    assert not np.array_equal(trials.logits(known, layers | {"stages.0.0.conv1"}), got)
    other = Trials(model, [scan[:, ::-1].copy() for scan in scans], "openvino")
    assert not np.array_equal(other.logits(known, layers), got)
