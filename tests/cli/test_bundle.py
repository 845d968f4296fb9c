"""`darnet-trt bundle`, as typed."""

import json

import numpy as np
import pytest

from darnet_trt.bundle.reading import sha256_of
from darnet_trt.bundle.trust import CANNOT_FLAG
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.export.tensorrt.layer_table import Layer
from darnet_trt.export.tensorrt.stored_table import write_table
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.preprocessing import Preprocessing
from tests.runtime.engines.plan_bundle import plan_card, put_plan
from tests.tiny_bundle import change_manifest, put_familiarity


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


def test_show_says_whether_it_can_flag(tiny, command):
    assert CANNOT_FLAG in command("bundle", "show", tiny).stdout
    model = json.loads((tiny / "manifest.json").read_text())["model"]
    change_manifest(put_familiarity(tiny, 1.0), model={**model, "temperature": 1.25})
    shown = command("bundle", "show", tiny).stdout
    assert CANNOT_FLAG not in shown
    assert "unlike the training scans" in shown
    assert "1.25" in shown


def test_show_puts_what_was_measured_in_words(tiny, command):
    labels = np.array([0, 0, 1, 2])
    model = json.loads((tiny / "manifest.json").read_text())["model"]
    validation = evaluate(np.eye(3, dtype=np.float32)[[0, 1, 1, 2]], labels, PAPER_CLASSES)
    change_manifest(tiny, model={**model, "validation": validation})
    out = command("bundle", "show", tiny).stdout
    assert "covid-19 1 of 2 correct, common-pneumonia 1 of 1 correct" in out
    assert "accuracy over all classes  0.750" in out
    assert f"AUC {validation['auc']:.3f}" in out
    assert "window -600/1500 HU" in out
    for key in (*validation, *Preprocessing.model_fields):
        assert "_" not in key or key not in out


def test_show_gives_the_decision_gate_one_fact_a_line(tiny, command):
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    logits = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    found = decide(logits, logits, (0, 0, 1, 2), "4 scans: 2 covid-19, 1 common-pneumonia")
    artifacts[0]["decisions"] = found.model_dump(mode="json")
    change_manifest(tiny, artifacts=artifacts)
    out = command("bundle", "show", tiny).stdout.splitlines()
    lines = [line for line in out if line.startswith("openvino-fp32: ")]
    for fact in (found.source, "0 of 4 scans", "AUC from 1.000", "accuracy from", *found.notes):
        assert sum(fact in line for line in lines) == 1
    assert all(len(line) < 160 for line in lines)


def test_show_counts_what_a_plan_launches_and_moves(tiny, command):
    kernels = {"convolution": {"int8": 19}, "plugin": {"fp16": 8}}
    work = {"launches": 43, "activations": 2_242e6, "weights": 44e6, "read_again": 273e6}
    put_plan(tiny, b"a plan", "1.7.1", plan=plan_card(kernels=kernels, work=work))
    out = command("bundle", "show", tiny).stdout.splitlines()
    lines = [line for line in out if line.startswith("tensorrt-rtx-fp16: ")]
    for fact in ("27 kernels", "43 launches", "2242 MB", "44 MB", "273 MB again"):
        assert sum(fact in line for line in lines) == 1
    assert all(len(line) < 160 for line in lines)
    put_plan(tiny, b"a plan", "1.7.1", plan=plan_card(kernels=kernels))  # of an older bundle
    shown = command("bundle", "show", tiny).stdout
    assert "27 kernels" in shown
    assert "launches" not in shown


def test_show_as_json_is_the_manifest_with_its_hash(tiny, command):
    result = command("bundle", "show", tiny, "--json")
    manifest = json.loads((tiny / "manifest.json").read_text())
    assert (
        json.loads(result.stdout) == {"bundle_sha256": sha256_of(tiny / "manifest.json")} | manifest
    )


def test_show_lists_the_layers_of_each_plan(tiny, command):
    assert "tensorrt-rtx-fp16: no table" in command("bundle", "show", tiny, "--layers").stdout
    layer = Layer("\x1b[31mconv1", "convolution", (((1, 8), "Half"),), (), (((1, 8), "Int8"),))
    (file,) = write_table(tiny / "tensorrt-rtx" / "sm89-fp16.plan", [layer])
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts[-1]["files"]["tensorrt-rtx/sm89-fp16.layers.json"] = sha256_of(file)
    artifacts[-1]["plan"] = {
        "kernels": {"convolution": {"int8": 2}},
        "work": {"launches": 2, "activations": 10**6, "weights": 0, "read_again": 0},
    }
    change_manifest(tiny, artifacts=artifacts)
    out = command("bundle", "show", tiny, "--layers").stdout
    assert "�[31mconv1  convolution  fp16  int8  0.0" in out
    assert "tensorrt-rtx-fp16: 2 kernels: 2 convolution int8\n" in out
    assert "\ntensorrt-rtx-fp16: a run of the smallest batch: 2 launches, 1 MB" in out
    result = json.loads(command("bundle", "show", tiny, "--layers", "--json").stdout)
    assert result["tensorrt-rtx-fp16"][0]["outputs"] == [[[1, 8], "Int8"]]
    change_manifest(tiny, artifacts=artifacts[:-1])
    result = command("bundle", "show", tiny, "--layers")
    assert result.returncode == 2
    assert "no TensorRT plan" in result.stderr


def test_show_says_why_there_is_no_default(tiny, command):
    change_manifest(tiny, default=None)
    assert "default: none: no engine passed" in command("bundle", "show", tiny).stdout


def test_control_characters_of_a_manifest_do_not_reach_the_terminal(tiny, command):
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts[0] |= {"target": "\x9b31mcpu", "notes": ["\u202enote\n"]}
    change_manifest(tiny, intended_use="\x1b[31mnone\x07", artifacts=artifacts)
    for words in ((), ("--json",)):
        out = command("bundle", "show", tiny, *words).stdout
        for text in ("[31mnone", "31mcpu", "note"):
            assert text in out
        assert all(line.isprintable() for line in out.split("\n"))


def test_check_names_what_fails(tiny, command):
    result = command("bundle", "check", tiny)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 files are intact" in result.stdout
    assert "no reference outputs" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith("passed: 2 of 3 engines ")
    assert "agree" not in last  # with what?
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
