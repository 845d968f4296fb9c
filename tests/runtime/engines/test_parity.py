"""The parity gate passes rounding and fails wrong outputs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.bundle.manifest import Parity
from darnet_trt.runtime.engines.parity import LIMITS, Limits, compare
from darnet_trt.runtime.engines.runner import Outputs


def outputs(logits):
    logits = np.array(logits, np.float32)
    return Outputs(logits, np.ones((*logits.shape, 1, 2, 2), np.float32))


def judge(reference, candidate, precision="bf16"):
    return compare(outputs(reference), outputs(candidate), LIMITS[precision], "a test")


def test_equal_outputs_pass():
    parity = judge([[3, 1, 0]], [[3, 1, 0]], "fp32")
    assert parity.passed
    assert (parity.class_flips, parity.max_probability_difference) == (0, 0)


def test_a_flip_between_equals_is_reported_and_passes():
    parity = judge([[2.001, 2, 0], [0, 0, 5]], [[2, 2.001, 0], [0, 0, 5]])
    assert parity.passed
    assert parity.class_flips == 1


def test_a_flip_of_a_sure_class_fails():
    # The two classes change places, each by less than what is allowed for a probability.
    limits = Limits(probability=0.03, logits=1, cam=1, features=1)
    reference, candidate = np.log([[0.52, 0.48, 1e-9]]), np.log([[0.495, 0.505, 1e-9]])
    parity = compare(outputs(reference), outputs(candidate), limits, "a test")
    assert parity.max_probability_difference < limits.probability
    assert parity.class_flips == 1
    assert not parity.passed


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_each_precision_has_its_own_limits(precision):
    parity = judge([[1, 0, 0]], [[1 + 2 * LIMITS[precision].logits, 0, 0]], precision)
    assert not parity.passed
    assert judge([[1, 0, 0]], [[1 + LIMITS[precision].logits / 3, 0, 0]], precision).passed


def test_a_transposed_map_fails():
    cam = np.random.default_rng(0).normal(size=(1, 3, 2, 2, 2)).astype(np.float32)
    logits = cam.mean((2, 3, 4))
    parity = compare(
        Outputs(logits, cam), Outputs(logits, cam.swapaxes(3, 4)), LIMITS["bf16"], "a test"
    )
    assert parity.max_logits_error == 0
    assert not parity.passed


def with_features(features):
    return replace(outputs([[3, 1, 0]]), features=np.array(features, np.float32))


@pytest.mark.parametrize("wrong", [[[1, 4, 0.5]], [[1, 0.5, np.nan]]])
def test_features_in_another_order_or_not_finite_fail(wrong):
    expected, limits = with_features([[1, 0.5, 4]]), LIMITS["int8"]
    assert compare(expected, with_features([[1, 0.5, 4.01]]), limits, "a test").passed
    parity = compare(expected, with_features(wrong), limits, "a test")
    assert not parity.passed
    assert parity.max_features_error > limits.features


def test_an_older_engine_is_compared_without_features():
    reference = with_features([[1, 0.5, 4]])
    parity = compare(reference, outputs([[3, 1, 0]]), LIMITS["fp32"], "a test")
    assert parity.passed
    assert parity.max_features_error is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_fail_and_fit_into_json(value):
    parity = judge([[3, 1, 0]], [[value, 1, 0]])
    assert not parity.passed
    assert Parity.model_validate(json.loads(parity.model_dump_json())) == parity
