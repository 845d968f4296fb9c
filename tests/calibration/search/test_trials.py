"""Trials run an engine once and remember what it said, in the form that will be built."""

import resource
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto
from onnx.numpy_helper import from_array, to_array

from darnet_trt.calibration.qdq import Range, convolutions, quantized_tensors
from darnet_trt.calibration.search.trials import Subject, Trials
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.export.gates.parity import NOT_FINITE
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded


@pytest.fixture(scope="module")
def model(source):
    weights = folded(source.checkpoint.model())
    return build_graph(source.checkpoint.network, weights, "fp32", {"precision": "fp32"})


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


def for_the_cpu(model, backend="openvino"):
    return Subject(model, "u8", backend)


def nothing_runs(self, graph, *, quantized):
    pytest.fail("an engine ran for what is known")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_engine_runs_once_for_the_same_question(model, scans, cache, backend, monkeypatch):
    layers = frozenset(convolutions(model)[:3])
    trials = Trials(for_the_cpu(model, backend), scans)
    got = trials.logits(ranges(model), layers)
    assert got.shape == (2, 3)
    assert 0 < trials.error(ranges(model), layers) < 0.2
    assert trials.error(ranges(model), frozenset()) == 0
    monkeypatch.setattr(Trials, "_run", nothing_runs)
    again = Trials(for_the_cpu(model, backend), scans)
    np.testing.assert_array_equal(again.logits(ranges(model), layers), got)


def test_another_question_is_asked_again(model, scans, cache):
    layers = frozenset(["stem.0"])
    known = ranges(model)
    trials = Trials(for_the_cpu(model), scans)
    got = trials.logits(known, layers)
    wider = known | {"input": replace(known["input"], largest=40.0)}
    assert not np.array_equal(trials.logits(wider, layers), got)
    assert not np.array_equal(trials.logits(known, layers | {"stages.0.0.conv1"}), got)
    other = Trials(for_the_cpu(model), [scan[:, ::-1].copy() for scan in scans])
    assert not np.array_equal(other.logits(known, layers), got)
    plan = Trials(Subject(model, "s8", "openvino"), scans)
    assert not np.array_equal(plan.logits(known, layers), got)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_large_biases_of_small_scales_are_kept(model, scans, cache, backend):
    """Over its scales such a bias is beyond float16: a backend that rounded it there would err."""
    shifted = with_bias(model, "stem.1.bias", 30.0)
    layers = frozenset(["stem.0", "stages.0.0.conv1"])
    found = {"input": Range(1.0, signed=False), "stem.1.relu": Range(34.0, signed=False)}
    assert Trials(Subject(shifted, "s8", backend), scans).error(found, layers) < 0.02


def with_bias(model, name, value):
    copied = ModelProto()
    copied.CopyFrom(model)
    for tensor in copied.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(from_array(np.full_like(to_array(tensor), value), name))
    return copied


def test_logits_that_are_all_0_are_said_and_divide_nothing(model, scans, cache):
    silent = ModelProto()
    silent.CopyFrom(model)
    for tensor in silent.graph.initializer:
        if tensor.name.startswith("classifier."):
            tensor.CopyFrom(from_array(np.zeros_like(to_array(tensor)), tensor.name))
    with pytest.raises(UsageError, match=r"logits are 0 for all of 2 scans.*; train again"):
        Trials(for_the_cpu(silent), scans).error(ranges(model), frozenset(["stem.0"]))


def test_logits_that_are_no_numbers_have_an_error_that_json_can_hold(model, scans, cache):
    endless = ranges(model) | {"input": Range(float("inf"), signed=False)}
    trials = Trials(for_the_cpu(model, "onnxruntime"), scans)
    assert trials.error(endless, frozenset(["stem.0"])) == NOT_FINITE


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_full_disk_of_temporary_files_is_named(model, scans, cache, backend):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(
            OutputError, match=rf"^{tempfile.gettempdir()}: an int8 engine .* TMPDIR"
        ):
            Trials(for_the_cpu(model, backend), scans).logits({}, frozenset())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
