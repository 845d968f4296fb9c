"""torch from a checkpoint and from a bundle's ONNX file; with and without the fused operator."""

import json

import numpy as np
import onnx
import pytest
import torch

from darnet_trt.errors import BundleError
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.training.model import Network
from tests.export.networks import TINY, trained_like


@pytest.mark.parametrize("attention", ["none", "channel", "depth", "both"])
def test_rebuilt_from_onnx_it_is_the_same_network(attention, tmp_path):
    size = (11, 20, 33)
    checkpoint = trained_like(Network(attention=attention, width=4, input_size=size), seed=3)
    export_onnx(Source(checkpoint, ""), tmp_path / "model.onnx")
    original = TorchRunner(checkpoint.model())
    rebuilt = TorchRunner.from_onnx(tmp_path / "model.onnx")
    x = np.random.default_rng(0).random((2, 1, *size), np.float32)
    expected, found = original.infer(x), rebuilt.infer(x)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.cam, expected.cam, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.features, expected.features, rtol=0, atol=1e-4)
    assert rebuilt.precision == "fp32"
    assert rebuilt.provenance["mode"] == "eager"


def test_it_runs_the_papers_layers_and_not_our_operator(tmp_path):
    checkpoint = trained_like(Network(width=4, input_size=(8, 16, 16)))
    export_onnx(Source(checkpoint, ""), tmp_path / "model.onnx")
    x = np.zeros((1, 1, 8, 16, 16), np.float32)
    for runner in (
        TorchRunner(checkpoint.model()),
        TorchRunner.from_onnx(tmp_path / "model.onnx"),
    ):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            runner.infer(x)
        called = {event.key for event in seen.key_averages()}
        assert "aten::convolution" in called
        assert not any(name.startswith("darnet::") for name in called)


@pytest.mark.parametrize("mode", ["eager", "fused"])
def test_a_file_that_export_did_not_write_is_refused(mode, tmp_path):
    (tmp_path / "text.onnx").write_text("not a model")
    stranger = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    onnx.save(stranger, tmp_path / "stranger.onnx")
    for name in ("text.onnx", "stranger.onnx", "absent.onnx"):
        with pytest.raises(BundleError, match=name):
            TorchRunner.from_onnx(tmp_path / name, mode=mode)


@pytest.fixture
def onnx_file(tmp_path):
    export_onnx(Source(trained_like(TINY), ""), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_fused_agrees_with_the_reference_and_runs_our_operator(onnx_file):
    x = np.random.default_rng(0).random((2, 1, *TINY.input_size), np.float32)
    reference, runner = (TorchRunner.from_onnx(onnx_file, mode=m) for m in ("eager", "fused"))
    expected = reference.infer(x)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        found = runner.infer(x)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.cam, expected.cam, rtol=0, atol=1e-3)
    assert sum(event.name == "darnet::fused_attention" for event in seen.events()) == 8
    runner.close()


def test_fused_says_where_it_ran_and_with_what(onnx_file):
    runner = TorchRunner.from_onnx(onnx_file, threads=torch.get_num_threads(), mode="fused")
    assert runner.provenance["attention"].startswith("fused operator, ")
    assert runner.provenance["threads"] == str(torch.get_num_threads())
    if not torch.cuda.is_available():
        assert runner.provenance["device"] == "CPU"
        assert runner.provenance["attention"] == "fused operator, plain torch"


def test_bench_compares_a_bundle_with_fused(run, tmp_path, command):
    bundle = tmp_path / "bundle"
    options = ("--target", "onnxruntime", "--precision", "fp32", "--threads", 1)
    assert command("build", run, "-o", bundle, *options).returncode == 0
    result = command("bench", bundle, "--against", "torch-fused", "--rounds", 1, "--json")
    assert result.returncode == 0, result.stderr
    _, fused = json.loads(result.stdout)["engines"]
    assert (fused["name"], fused["precision"]) == ("torch-fused", "fp32")
    assert fused["provenance"]["attention"].startswith("fused operator, ")
    assert fused["fidelity"]["max_probability_difference"] < 1e-5
