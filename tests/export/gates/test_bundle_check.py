"""A bundle is checked where it will run: hashes, loading, and parity without torch."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle, sha256_of
from darnet_trt.bundle.reference import ReferenceOutputs, read_reference, write_reference
from darnet_trt.errors import BundleError
from darnet_trt.export.gates.bundle_check import check_bundle
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from tests.tiny_bundle import SIZE, change_manifest, write_bundle, write_onnx

ENGINES = ("openvino-fp32", "onnxruntime-fp32")


@pytest.fixture
def whole(tiny) -> Path:
    """The tiny bundle with reference outputs."""
    return with_outputs(tiny)


def with_outputs(tiny: Path) -> Path:
    inputs = np.random.default_rng(0).random((3, 1, *SIZE)).astype(np.float16).astype(np.float32)
    found = OnnxRuntimeRunner(tiny / "model.onnx").infer(inputs)
    outputs = ReferenceOutputs(inputs, found.logits, found.cam, found.features)
    change_manifest(tiny, reference=write_reference(tiny, outputs, "3 random inputs").model_dump())
    return tiny


def checked(folder: Path):
    return check_bundle(open_bundle(folder, complete=False), threads=1)


def statuses(found):
    return {engine.name: engine.status for engine in found.engines}


def test_the_stored_inputs_are_exact_and_the_outputs_come_back(whole):
    stored = read_reference(open_bundle(whole))
    assert stored.inputs.shape == (3, 1, *SIZE)
    assert stored.inputs.dtype == np.float32
    expected = OnnxRuntimeRunner(whole / "model.onnx").infer(stored.inputs)
    np.testing.assert_array_equal(stored.logits, expected.logits)
    np.testing.assert_array_equal(stored.cam, expected.cam)
    np.testing.assert_array_equal(stored.features, expected.features)


def test_a_bundle_of_an_older_version_is_compared_without_features(tmp_path):
    older = with_outputs(write_bundle(tmp_path / "older", features=0))
    found = checked(older)
    assert [engine.status for engine in found.engines[:2]] == ["ok", "ok"]
    assert all(engine.parity.max_features_error is None for engine in found.engines[:2])


def test_features_that_differ_fail(whole):
    stored = read_reference(open_bundle(whole))
    wrong = replace(stored, features=stored.features[:, ::-1].copy())
    change_manifest(whole, reference=write_reference(whole, wrong, "a test").model_dump())
    found = checked(whole)
    assert {statuses(found)[name] for name in ENGINES} == {"failed"}
    assert "features" in found.engines[0].detail


def test_a_good_bundle_passes_and_a_plan_for_another_machine_is_no_failure(whole):
    found = checked(whole)
    assert found.passed
    assert set(found.files) == {"model.onnx", "tensorrt-rtx/sm89-fp16.plan", "reference.npz"}
    assert set(found.files.values()) == {None}
    assert statuses(found) == {
        **dict.fromkeys(ENGINES, "ok"),
        "tensorrt-rtx-fp16": "cannot run here",
    }
    for engine in found.engines[:2]:
        assert engine.precision == "fp32"
        assert engine.parity.scans == 3
        assert engine.parity.max_logits_error < 1e-5


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_engine_is_named_and_the_others_are_still_checked(whole, damage):
    plan = whole / "tensorrt-rtx" / "sm89-fp16.plan"
    plan.unlink() if damage == "missing" else plan.write_bytes(b"another plan")
    found = checked(whole)
    assert not found.passed
    assert damage in found.files["tensorrt-rtx/sm89-fp16.plan"]
    assert statuses(found) == {**dict.fromkeys(ENGINES, "ok"), "tensorrt-rtx-fp16": "failed"}
    assert damage in found.engines[2].detail


def test_damaged_reference_outputs_are_named_and_the_engines_still_loaded(whole):
    (whole / "reference.npz").write_bytes(b"not an archive")
    found = checked(whole)
    assert not found.passed
    assert "altered" in found.files["reference.npz"]
    assert statuses(found)["openvino-fp32"] == "ok"
    assert found.engines[0].parity is None
    assert "reference.npz" in found.engines[0].detail


def test_reference_outputs_that_are_no_archive_are_an_error(whole):
    (whole / "reference.npz").write_bytes(b"not an archive")
    reference = open_bundle(whole).manifest.reference.model_dump()
    change_manifest(whole, reference={**reference, "sha256": sha256_of(whole / "reference.npz")})
    with pytest.raises(BundleError, match=r"reference\.npz"):
        read_reference(open_bundle(whole))
    assert not checked(whole).passed


def change_engines(folder, **fields):
    """Set fields of the engines for the CPU; their file may have another hash."""
    files = {"model.onnx": sha256_of(folder / "model.onnx")}
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    for artifact in artifacts[:2]:
        artifact.update(files=files, **fields)
    change_manifest(folder, artifacts=artifacts)


def test_an_engine_that_computes_something_else_fails_with_its_numbers(whole):
    write_onnx(whole / "model.onnx", bias=0.9)
    change_engines(whole)
    found = checked(whole)
    assert not found.passed
    assert set(found.files.values()) == {None}
    assert statuses(found) == {
        **dict.fromkeys(ENGINES, "failed"),
        "tensorrt-rtx-fp16": "cannot run here",
    }
    assert "logits error" in found.engines[0].detail
    assert "allowed 0.0001" in found.engines[0].detail


def test_an_engine_that_was_accepted_although_it_failed_is_no_failure(whole):
    write_onnx(whole / "model.onnx", bias=0.9)
    failed = {**open_bundle(whole).manifest.artifacts[0].parity.model_dump(), "passed": False}
    change_engines(whole, parity=failed, accepted="A. Person")
    found = checked(whole)
    assert found.passed
    assert "A. Person" in found.engines[0].detail
    assert not found.engines[0].parity.passed


def test_an_engine_that_does_not_load_fails(whole):
    (whole / "model.onnx").write_bytes(b"not a model")
    change_engines(whole)
    assert {statuses(checked(whole))[name] for name in ENGINES} == {"failed"}


def test_a_missing_package_is_no_failure(whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = checked(whole)
    assert found.passed
    assert statuses(found)["openvino-fp32"] == "cannot run here"
    assert "openvino" in found.engines[0].detail


def test_an_older_bundle_has_no_reference_outputs(tiny):
    found = checked(tiny)
    assert found.passed
    assert found.reference is None
    assert statuses(found)["openvino-fp32"] == "ok"
    assert found.engines[0].parity is None
    assert "no reference outputs" in found.engines[0].detail


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
from darnet_trt.cli.main import main
main()
"""


def test_neither_torch_nor_onnx_is_needed(whole):
    words = [sys.executable, "-c", WITHOUT_TORCH, "bundle", "check", whole]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "openvino-fp32" in ended.stdout


def test_outputs_of_other_inputs_do_not_pass(whole):
    stored = read_reference(open_bundle(whole))
    wrong = replace(stored, inputs=stored.inputs + np.float32(0.1))
    change_manifest(whole, reference=write_reference(whole, wrong, "shifted inputs").model_dump())
    assert statuses(checked(whole))["onnxruntime-fp32"] == "failed"
