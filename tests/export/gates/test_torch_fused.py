"""torch with the fused operator: the same function as the reference, by other means."""

import json

import numpy as np
import pytest
import torch

from darnet_trt.errors import BundleError
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.export.gates.torch_fused import FusedTorchRunner
from darnet_trt.export.onnx.writing import Source, export_onnx
from tests.export.networks import TINY, trained_like


@pytest.fixture
def onnx_file(tmp_path):
    export_onnx(Source(trained_like(TINY), ""), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_it_agrees_with_the_reference_and_runs_our_operator(onnx_file):
    x = np.random.default_rng(0).random((2, 1, *TINY.input_size), np.float32)
    reference, runner = TorchRunner.from_onnx(onnx_file), FusedTorchRunner(onnx_file)
    expected = reference.infer(x)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        found = runner.infer(x)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.cam, expected.cam, rtol=0, atol=1e-3)
    assert sum(event.name == "darnet::fused_attention" for event in seen.events()) == 8
    runner.close()


def test_it_says_where_it_ran_and_with_what(onnx_file):
    runner = FusedTorchRunner(onnx_file, threads=torch.get_num_threads())
    assert runner.provenance["attention"].startswith("fused operator, ")
    assert runner.provenance["threads"] == str(torch.get_num_threads())
    if not torch.cuda.is_available():
        assert runner.provenance["device"] == "CPU"
        assert runner.provenance["attention"] == "fused operator, plain torch"


def test_a_file_that_is_no_export_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_text("not a model")
    with pytest.raises(BundleError, match="cannot be rebuilt"):
        FusedTorchRunner(tmp_path / "model.onnx")


def test_bench_compares_a_bundle_with_it(run, tmp_path, command):
    bundle = tmp_path / "bundle"
    options = ("--target", "onnxruntime", "--precision", "fp32", "--threads", 1)
    assert command("build", run, "-o", bundle, *options).returncode == 0
    result = command("bench", bundle, "--against", "torch-fused", "--rounds", 1, "--json")
    assert result.returncode == 0, result.stderr
    _, fused = json.loads(result.stdout)["configurations"]
    assert (fused["name"], fused["precision"]) == ("torch-fused", "fp32")
    assert fused["provenance"]["attention"].startswith("fused operator, ")
