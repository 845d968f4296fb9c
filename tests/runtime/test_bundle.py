import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import SIZE, change_manifest, write_bundle, write_onnx

from darnet_trt.errors import BundleError, UsageError
from darnet_trt.runtime.bundle import load_engine, load_runner, open_bundle, pick_artifact


def refused(path: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        open_bundle(path)
    assert "\n" not in str(caught.value)


def test_a_whole_bundle_opens_and_is_named_by_its_manifest(tiny):
    bundle = open_bundle(tiny)
    assert bundle.manifest.default == "openvino-fp32"
    assert bundle.sha256 == hashlib.sha256((tiny / "manifest.json").read_bytes()).hexdigest()


def test_both_engines_of_a_bundle_agree(tiny):
    bundle = open_bundle(tiny)
    volumes = np.random.default_rng(0).random((3, 1, *SIZE), np.float32)
    outputs = {}
    for name in ("openvino-fp32", "onnxruntime-fp32"):
        runner = load_runner(bundle, name, threads=1)
        assert runner.precision == "fp32"
        assert runner.batch[0] == 1
        assert runner.batch[1] >= 3
        outputs[name] = runner.infer(volumes)
        runner.close()
    first, second = outputs.values()
    assert first.logits.shape == (3, 3)
    assert first.cam.shape == (3, 3, 2, 2, 2)
    np.testing.assert_allclose(first.logits, second.logits, atol=1e-5)
    np.testing.assert_allclose(first.cam, second.cam, atol=1e-5)
    np.testing.assert_allclose(first.probabilities.sum(1), 1)


def test_absent(tmp_path):
    refused(tmp_path / "nowhere", "no such bundle")


def test_a_file_is_no_bundle(tmp_path):
    (tmp_path / "bundle.txt").write_text("hello")
    refused(tmp_path / "bundle.txt", "a bundle is a folder")


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    refused(tmp_path, "no manifest.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000, b'"text"', b"{}"])
def test_a_corrupt_manifest(tiny, content):
    (tiny / "manifest.json").write_bytes(content)
    refused(tiny, "not valid JSON|no schema version")


def test_a_manifest_as_large_as_an_engine_is_not_read(tiny):
    with (tiny / "manifest.json").open("wb") as file:
        file.truncate(2**40)
    refused(tiny, "too large")


def test_a_newer_schema_says_so(tiny):
    change_manifest(tiny, schema_version=2)
    refused(tiny, "schema version 2 is newer than this toolkit's 1; install")


def test_a_field_of_the_wrong_type_is_named(tiny):
    content = json.loads((tiny / "manifest.json").read_text())
    content["artifacts"][1]["batch"] = "many"
    change_manifest(tiny, artifacts=content["artifacts"])
    refused(tiny, r"artifacts\.1\.batch")


def test_a_default_that_is_not_in_it(tiny):
    change_manifest(tiny, default="openvino-int8")
    refused(tiny, "default artifact 'openvino-int8' is not in it")


def test_a_missing_file(tiny):
    (tiny / "model.onnx").unlink()
    refused(tiny, "model.onnx is missing; build")


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "a/../../outside.onnx", "a\\b"])
def test_a_path_that_leaves_the_folder(tiny, name):
    (tiny.parent / "outside.onnx").write_bytes(b"x")
    rename_first_file(tiny, name)
    refused(tiny, "outside the bundle")


def test_a_link_that_leaves_the_folder(tiny):
    outside = tiny.parent / "outside.onnx"
    shutil.move(tiny / "model.onnx", outside)
    (tiny / "model.onnx").symlink_to(outside)
    refused(tiny, "a link out of the bundle")


def test_a_linked_folder_that_leaves_the_bundle(tiny):
    outside = tiny.parent / "elsewhere"
    outside.mkdir()
    shutil.copy(tiny / "model.onnx", outside / "model.onnx")
    (tiny / "engines").symlink_to(outside)
    rename_first_file(tiny, "engines/model.onnx")
    refused(tiny, "a link out of the bundle")


def test_a_loop_of_links(tiny):
    (tiny / "model.onnx").unlink()
    (tiny / "model.onnx").symlink_to("model.onnx")
    refused(tiny, "link")


def test_a_bundle_behind_a_link_opens(tiny):
    link = tiny.parent / "link"
    link.symlink_to(tiny)
    load_engine(open_bundle(link)).runner.close()


def test_one_altered_byte_is_found(tiny):
    content = bytearray((tiny / "model.onnx").read_bytes())
    content[-40] ^= 1
    (tiny / "model.onnx").write_bytes(content)
    bundle = open_bundle(tiny)
    with pytest.raises(BundleError, match="altered or damaged"):
        load_engine(bundle)


def test_only_what_is_loaded_is_hashed(tiny):
    (tiny / "tensorrt-rtx" / "sm89-fp16.plan").write_bytes(b"altered")
    load_engine(open_bundle(tiny)).runner.close()


@pytest.mark.parametrize("engine", ["openvino-fp32", "onnxruntime-fp32"])
def test_a_file_that_is_no_engine(tiny, engine):
    (tiny / "model.onnx").write_bytes(b"this is no network")
    rehash(tiny)
    with pytest.raises(BundleError, match="cannot load it") as caught:
        load_runner(open_bundle(tiny), engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino-fp32", "onnxruntime-fp32"])
def test_an_engine_of_another_size_than_the_preprocessing(tiny, engine):
    write_onnx(tiny / "model.onnx", size=(16, 48, 32))
    rehash(tiny)
    with pytest.raises(BundleError, match=r"16×48×32 voxels.*16×32×32"):
        load_runner(open_bundle(tiny), engine)


def test_a_plan_for_a_gpu_says_what_can_run_here(tiny):
    with pytest.raises(BundleError, match=r"needs tensorrt-rtx.*openvino-fp32, onnxruntime-fp32"):
        load_runner(open_bundle(tiny), "tensorrt-rtx-fp16")


def test_an_unknown_artifact_lists_the_known(tiny):
    with pytest.raises(UsageError, match=r"no artifact 'openvino-bf16'.*it has openvino-fp32"):
        pick_artifact(open_bundle(tiny), "openvino-bf16")


def test_no_default_asks_for_a_choice(tiny):
    change_manifest(tiny, default=None)
    with pytest.raises(UsageError, match=r"no default engine.*--artifact"):
        pick_artifact(open_bundle(tiny))


def test_a_default_in_a_precision_that_this_cpu_lacks_is_replaced_with_a_warning(tiny):
    checked_in_bf16(tiny)
    engine = load_engine(open_bundle(tiny))
    assert (engine.artifact.name, engine.runner.precision) == ("onnxruntime-fp32", "fp32")
    assert engine.warnings == (
        "engine onnxruntime-fp32 instead of the default openvino-fp32: this CPU runs it in fp32, "
        "which was not checked",
    )


def test_an_engine_named_by_the_user_is_not_replaced(tiny):
    checked_in_bf16(tiny)
    with pytest.raises(BundleError, match="checked in bf16 but this machine runs it in fp32") as it:
        load_engine(open_bundle(tiny), "openvino-fp32")
    assert it.value.do == "choose another with --artifact: onnxruntime-fp32"


def test_what_has_not_passed_the_gate_replaces_nothing(tiny):
    artifacts = checked_in_bf16(tiny)
    artifacts[1] |= {"executed": False, "effective_precision": None, "parity": None}
    change_manifest(tiny, artifacts=artifacts)
    with pytest.raises(BundleError, match="checked in bf16 but this machine runs it in fp32"):
        load_engine(open_bundle(tiny))


def test_bundles_with_other_weights_have_other_names(tmp_path):
    one = open_bundle(write_bundle(tmp_path / "one"))
    two = open_bundle(write_bundle(tmp_path / "two", bias=0.7))
    assert one.sha256 != two.sha256


def checked_in_bf16(tiny: Path) -> list[dict[str, object]]:
    """The default's manifest entry as of a CPU with bfloat16; here the engine runs in float32."""
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts[0]["effective_precision"] = "bf16"
    change_manifest(tiny, artifacts=artifacts)
    return artifacts


def rename_first_file(tiny: Path, name: str) -> None:
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts[0]["files"] = {name: next(iter(artifacts[0]["files"].values()))}
    change_manifest(tiny, artifacts=artifacts)


def rehash(tiny: Path) -> None:
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    digest = hashlib.sha256((tiny / "model.onnx").read_bytes()).hexdigest()
    for artifact in artifacts[:2]:
        artifact["files"] = {"model.onnx": digest}
    change_manifest(tiny, artifacts=artifacts)
