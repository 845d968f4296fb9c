import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest

from darnet_trt.bundle.manifest import SCHEMA_VERSION, content_digest
from darnet_trt.bundle.reading import FILE_NAME, open_bundle, pick_artifact
from darnet_trt.errors import BundleError, UsageError
from darnet_trt.runtime.engines.loading import load_engine
from tests.tiny_bundle import change_manifest


def refused(path: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        open_bundle(path)
    assert "\n" not in str(caught.value)


def test_a_whole_bundle_opens_and_is_named_by_its_manifest(tiny):
    bundle = open_bundle(tiny)
    assert bundle.manifest.default == "openvino-fp32"
    assert bundle.sha256 == hashlib.sha256((tiny / "manifest.json").read_bytes()).hexdigest()


def test_absent(tmp_path):
    refused(tmp_path / "nowhere", "no such bundle")


def test_a_file_is_no_bundle(tmp_path):
    (tmp_path / "bundle.txt").write_text("hello")
    refused(tmp_path / "bundle.txt", "file.*folder")


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    refused(tmp_path, "no manifest.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000, b'"text"', b"{}"])
def test_a_corrupt_manifest(tiny, content):
    (tiny / "manifest.json").write_bytes(content)
    refused(tiny, "JSON|schema version")


def test_a_manifest_nested_hundreds_deep(tiny):
    for depth in range(700, 1000, 1):  # parsing, hashing and checking it end at different depths
        deep = "[" * depth + "]" * depth
        text = f'{{"schema_version": {SCHEMA_VERSION}, "content_sha256": "x", "x": {deep}}}'
        (tiny / FILE_NAME).write_text(text)
        refused(tiny, "not valid JSON|edited or damaged")


def test_a_manifest_as_large_as_an_engine_is_not_read(tiny):
    with (tiny / "manifest.json").open("wb") as file:
        file.truncate(2**40)
    refused(tiny, "too large")


def test_a_newer_schema_says_so(tiny):
    change_manifest(tiny, schema_version=2)
    refused(tiny, "2 is newer than this toolkit's 1")


def test_a_field_of_the_wrong_type_is_named(tiny):
    content = json.loads((tiny / "manifest.json").read_text())
    content["artifacts"][1]["batch"] = "many"
    change_manifest(tiny, artifacts=content["artifacts"])
    refused(tiny, r"artifacts\.1\.batch")


def test_a_field_of_a_newer_version_is_not_called_damage(tiny):
    content = json.loads((tiny / "manifest.json").read_text())
    content["artifacts"][1]["energy"] = 3
    change_manifest(tiny, artifacts=content["artifacts"])
    refused(tiny, r"artifacts\.1\.energy: this version.*install the darnet-trt that built it")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["window_center_hu", "window_width_hu", "depth_snap", "metric"])
def test_a_number_that_is_not_finite_is_no_json(tiny, place, value):
    content = json.loads((tiny / "manifest.json").read_text())
    if place == "metric":
        content["model"]["validation"] = {"auc": value}
    else:
        content["preprocessing"][place] = value
    change_manifest(tiny, **content)
    refused(tiny, "not valid JSON")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window_center_hu", "NaN"),
        ("window_center_hu", 1e300),
        ("window_width_hu", "Infinity"),
        ("window_width_hu", 0),
        ("window_width_hu", 1e-320),
        ("depth_snap", -1),
        ("size", [1_000_000_000, 32, 32]),
        ("size", [0, 32, 32]),
    ],
)
def test_preprocessing_that_makes_no_input_is_refused(tiny, field, value):
    card = json.loads((tiny / "manifest.json").read_text())["preprocessing"]
    change_manifest(tiny, preprocessing={**card, field: value})
    refused(tiny, rf"preprocessing\.{field}")


def test_a_number_too_large_for_a_float_is_refused(tiny):
    text = (tiny / "manifest.json").read_text()
    content = json.loads(text)
    content["model"]["coarsest_pixel_mm"] = math.inf  # what Python reads of 1e999
    digest = content_digest(content)
    text = text.replace('"coarsest_pixel_mm": null', '"coarsest_pixel_mm": 1e999')
    text = text.replace(json.loads(text)["content_sha256"], digest)
    (tiny / "manifest.json").write_text(text)
    refused(tiny, r"model\.coarsest_pixel_mm")


@pytest.mark.parametrize(
    ("written", "edited"),
    [
        ("nothing: random weights", "ten thousand patients"),
        ('"window_center_hu": -600.0', '"window_center_hu": 40.0'),
        ('"covid-19",\n    "common-pneumonia"', '"common-pneumonia",\n    "covid-19"'),
        ('"content_sha256"', '"content_sha512"'),
    ],
)
def test_an_edit_by_hand_is_found(tiny, written, edited):
    text = (tiny / "manifest.json").read_text()
    assert written in text
    (tiny / "manifest.json").write_text(text.replace(written, edited))
    refused(tiny, "edited or damaged")


def test_a_default_that_is_not_in_it(tiny):
    change_manifest(tiny, default="openvino-int8")
    refused(tiny, "default artifact 'openvino-int8' is not in it")


@pytest.mark.parametrize("classes", [("a", "a", "b"), ("a",), ()])
def test_classes_with_one_name_are_refused(tiny, classes):
    change_manifest(tiny, classes=classes)
    refused(tiny, "classes")


def test_a_missing_file(tiny):
    (tiny / "model.onnx").unlink()
    refused(tiny, "model.onnx.*missing")


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


def test_an_unknown_artifact_lists_the_known(tiny):
    with pytest.raises(UsageError, match=r"'openvino-bf16'.*openvino-fp32, onnxruntime-fp32"):
        pick_artifact(open_bundle(tiny), "openvino-bf16")


def test_no_default_asks_for_a_choice(tiny):
    change_manifest(tiny, default=None)
    with pytest.raises(UsageError, match=r"default.*--artifact.*openvino-fp32"):
        pick_artifact(open_bundle(tiny))


def test_a_bundle_from_before_reference_outputs_opens(tiny):
    content = json.loads((tiny / "manifest.json").read_text())
    del content["reference"]
    sealed = {**content, "content_sha256": content_digest(content)}
    (tiny / "manifest.json").write_text(json.dumps(sealed))
    assert open_bundle(tiny).manifest.reference is None


@pytest.mark.parametrize(("name", "match"), [("r.npz", "missing"), ("../r.npz", "outside")])
def test_the_file_with_reference_outputs_must_be_in_the_bundle(tiny, name, match):
    (tiny.parent / "r.npz").write_bytes(b"")
    entry = {"file": name, "sha256": "0" * 64, "scans": 1, "source": "a test"}
    change_manifest(tiny, reference=entry)
    refused(tiny, match)


def rename_first_file(tiny: Path, name: str) -> None:
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts[0]["files"] = {name: next(iter(artifacts[0]["files"].values()))}
    change_manifest(tiny, artifacts=artifacts)
