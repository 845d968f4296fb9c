"""An engine serves when it gives what the bundle's reference gave."""

import json
from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.bundle.reference import ReferenceOutputs, write_reference
from darnet_trt.errors import BundleError
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.serving.engine.selftest import self_test
from tests.tiny_bundle import SIZE, change_manifest, write_bundle


def with_reference(folder, *, logits_off=0.0, cam_off=0.0, features_off=0.0):
    """A bundle whose stored outputs are its engine's, or differ from them."""
    write_bundle(folder)
    engine = load_engine(open_bundle(folder))
    inputs = np.random.default_rng(0).random((2, 1, *SIZE)).astype(np.float16).astype(np.float32)
    outputs = engine.runner.infer(inputs)
    logits, cam = outputs.logits + logits_off, outputs.cam + cam_off
    stored = ReferenceOutputs(inputs, logits, cam, outputs.features + features_off)
    reference = write_reference(folder, stored, "a test")
    change_manifest(folder, reference=json.loads(reference.model_dump_json()))
    return open_bundle(folder)


def test_an_engine_that_agrees_passes_and_its_time_is_known(tmp_path):
    bundle = with_reference(tmp_path / "bundle")
    found = self_test(bundle, load_engine(bundle))
    assert not found.remark
    assert 0 < found.volume_s < 10


@pytest.mark.parametrize("off", [{"logits_off": 0.1}, {"cam_off": 0.1}, {"features_off": 0.1}])
def test_an_engine_that_differs_fails(tmp_path, off):
    bundle = with_reference(tmp_path / "bundle", **off)
    with pytest.raises(BundleError) as error:
        self_test(bundle, load_engine(bundle))
    assert "openvino-fp32" in error.value.what


def test_an_engine_that_somebody_accepted_is_not_held_to_it(tmp_path):
    bundle = with_reference(tmp_path / "bundle", logits_off=0.1)
    engine = load_engine(bundle)
    accepted = engine.artifact.model_copy(update={"accepted": "Ada: a test"})
    assert "Ada" in self_test(bundle, replace(engine, artifact=accepted)).remark


def test_a_bundle_without_a_reference_says_so(tiny):
    bundle = open_bundle(tiny)
    assert self_test(bundle, load_engine(bundle)).remark


def test_a_damaged_reference_is_no_pass(tmp_path):
    bundle = with_reference(tmp_path / "bundle")
    (bundle.path / "reference.npz").write_bytes(b"nothing")
    with pytest.raises(BundleError):
        self_test(bundle, load_engine(bundle))
