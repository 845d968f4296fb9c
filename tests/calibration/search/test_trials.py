"""Trials run each engine once, keep its logits, and never take those of another engine."""

import tempfile
from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.calibration.qdq import Range, convolutions, quantized_tensors
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.calibration.search import trials as module
from darnet_trt.calibration.search.trials import Subject, Trials
from darnet_trt.errors import OutputError, UsageError
from darnet_trt.runtime.engines.parity import NOT_FINITE
from tests.export.networks import TINY, with_weight
from tests.full_disk import files_up_to


@pytest.fixture(scope="module")
def scans():
    draw = np.random.default_rng(0)
    return [draw.random((1, *TINY.input_size), np.float32) for _ in range(2)]


def ranges(model):
    tensors = quantized_tensors(model, convolutions(model))
    return {name: Range(4.0, name.endswith("bn2.out")) for name in tensors}


def for_the_cpu(model, backend="openvino"):
    return Subject(model, "u8", backend)


def trials_of(subject, scans):
    return Trials(subject, scans, [hashed(scan) for scan in scans])


def nothing_runs(*arguments):
    pytest.fail("an engine ran again for known logits")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_known_trial_makes_and_runs_nothing(model, scans, cache, backend, monkeypatch):
    layers = frozenset(convolutions(model)[:3])
    trials = trials_of(for_the_cpu(model, backend), scans)
    got = trials.logits(ranges(model), layers)
    assert got.shape == (2, 3)
    assert 0 < trials.error(ranges(model), layers) < 0.2
    assert trials.error(ranges(model), frozenset()) == 0
    monkeypatch.setattr(Trials, "_run", nothing_runs)
    monkeypatch.setattr(module, "quantize", nothing_runs)
    again = trials_of(for_the_cpu(model, backend), scans)
    np.testing.assert_array_equal(again.logits(ranges(model), layers), got)


def test_another_trial_runs_another_engine(model, scans, cache, monkeypatch):
    layers = frozenset(["stem.0"])
    known = ranges(model)
    trials = trials_of(for_the_cpu(model), scans)
    got = trials.logits(known, layers)
    wider = known | {"input": replace(known["input"], largest=40.0)}
    assert not np.array_equal(trials.logits(wider, layers), got)
    signed = known | {"input": replace(known["input"], signed=True)}
    assert not np.array_equal(trials.logits(signed, layers), got)
    assert not np.array_equal(trials.logits(known, layers | {"stages.0.0.conv1"}), got)
    other = trials_of(for_the_cpu(model), [scan[:, ::-1].copy() for scan in scans])
    assert not np.array_equal(other.logits(known, layers), got)
    plan = trials_of(Subject(model, "s8", "openvino"), scans)
    assert not np.array_equal(plan.logits(known, layers), got)
    runtime = trials_of(for_the_cpu(model, "onnxruntime"), scans)
    assert not np.array_equal(runtime.logits(known, layers), got)
    biased = with_weight(model, "classifier.bias", lambda bias: np.full_like(bias, 3))
    shifted = trials_of(for_the_cpu(biased), scans)
    assert not np.array_equal(shifted.logits(known, layers), got)
    assert not np.array_equal(shifted.logits({}, frozenset()), trials.logits({}, frozenset()))


@pytest.mark.parametrize("changed", ["quantizer", "backend"])
def test_another_version_runs_the_engine_again(model, scans, cache, monkeypatch, changed):
    layers = frozenset(["stem.0"])
    trials_of(for_the_cpu(model), scans).logits(ranges(model), layers)
    if changed == "quantizer":
        monkeypatch.setattr(module, "VERSION", -1)
    else:
        monkeypatch.setattr(module, "producer", lambda backend: {backend: "another release"})
    monkeypatch.setattr(Trials, "_run", lambda *arguments: [[7.0, 7.0, 7.0]] * 2)
    again = trials_of(for_the_cpu(model), scans).logits(ranges(model), layers)
    assert (again == 7).all()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_large_biases_of_small_scales_are_kept(model, scans, cache, backend):
    """Over its scales such a bias is beyond float16: a backend that rounded it there would err."""
    shifted = with_weight(model, "stem.1.bias", lambda bias: np.full_like(bias, 30))
    layers = frozenset(["stem.0", "stages.0.0.conv1"])
    found = {"input": Range(1.0, signed=False), "stem.1.relu": Range(34.0, signed=False)}
    assert trials_of(Subject(shifted, "s8", backend), scans).error(found, layers) < 0.02


def test_logits_that_are_all_0_are_an_error(model, scans, cache):
    silent = with_weight(model, "classifier.bias", np.zeros_like)
    silent = with_weight(silent, "classifier.weight", np.zeros_like)
    with pytest.raises(UsageError, match=r"logits are 0 for all 2 scans.*train again"):
        trials_of(for_the_cpu(silent), scans).error(ranges(model), frozenset(["stem.0"]))


def test_infinite_logits_have_an_error_that_json_can_hold(model, scans, cache):
    endless = ranges(model) | {"input": Range(float("inf"), signed=False)}
    trials = trials_of(for_the_cpu(model, "onnxruntime"), scans)
    assert trials.error(endless, frozenset(["stem.0"])) == NOT_FINITE


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_full_temporary_folder_is_named(model, scans, cache, backend):
    where = rf"^{tempfile.gettempdir()}: .*int8 engine .* TMPDIR"
    with files_up_to(4096), pytest.raises(OutputError, match=where):
        trials_of(for_the_cpu(model, backend), scans).logits({}, frozenset())
