"""`darnet-trt bundle`, as typed."""

import json

import pytest

from tests.tiny_bundle import change_manifest


def test_show_lists_the_network_and_each_engine(tiny, command):
    result = command("bundle", "show", tiny)
    assert result.returncode == 0, result.stderr
    for fact in ("nothing: random weights", "6,147", "16×32×32", "common-pneumonia", "-600"):
        assert fact in result.stdout
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert lines["openvino-fp32"][1:3] == ["fp32", "cpu"]
    assert lines["openvino-fp32"][-1] == "passed"
    assert lines["tensorrt-rtx-fp16"][1:3] == ["fp16", "sm89"]
    assert lines["tensorrt-rtx-fp16"][-2:] == ["not", "run"]
    assert "default: openvino-fp32" in result.stdout


def test_show_as_json_is_the_manifest(tiny, command):
    result = command("bundle", "show", tiny, "--json")
    assert json.loads(result.stdout) == json.loads((tiny / "manifest.json").read_text())


def test_show_says_why_there_is_no_default(tiny, command):
    change_manifest(tiny, default=None)
    assert "default: none: no engine passed" in command("bundle", "show", tiny).stdout


def test_control_characters_of_a_manifest_do_not_reach_the_terminal(tiny, command):
    change_manifest(tiny, intended_use="\x1b[31mnone\x07")
    out = command("bundle", "show", tiny).stdout
    assert "[31mnone" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_check_names_what_fails(tiny, command):
    result = command("bundle", "check", tiny)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 files are intact" in result.stdout
    assert "no reference outputs" in result.stdout
    (tiny / "model.onnx").unlink()
    result = command("bundle", "check", tiny)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == ("failed: model.onnx, openvino-fp32, onnxruntime-fp32")
    result = command("bundle", "check", tiny, "--json")
    assert result.returncode == 1
    content = json.loads(result.stdout)
    assert not content["passed"]
    assert "missing" in content["files"]["model.onnx"]
    assert [e["status"] for e in content["engines"]] == ["failed", "failed", "cannot run here"]


@pytest.mark.parametrize("name", ["show", "check"])
def test_a_folder_that_is_not_a_bundle_is_refused(name, tmp_path, command):
    result = command("bundle", name, tmp_path)
    assert result.returncode == 2
    assert "manifest.json" in result.stderr
    assert result.stdout == ""
