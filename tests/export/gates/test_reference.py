"""The torch reference: from a checkpoint, and rebuilt from the ONNX file of a bundle."""

import numpy as np
import onnx
import pytest
import torch

from darnet_trt.errors import BundleError
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.training.model import Network
from tests.export.networks import trained_like


@pytest.mark.parametrize("attention", ["none", "channel", "depth", "both"])
def test_rebuilt_from_onnx_it_is_the_same_network(attention, tmp_path):
    size = (11, 20, 33)
    checkpoint = trained_like(Network(attention=attention, width=4, input_size=size), seed=3)
    export_onnx(Source(checkpoint, ""), tmp_path / "model.onnx")
    original = TorchRunner.from_checkpoint(checkpoint)
    rebuilt = TorchRunner.from_onnx(tmp_path / "model.onnx")
    assert rebuilt.input_size == size
    x = np.random.default_rng(0).random((2, 1, *size), np.float32)
    expected, found = original.infer(x), rebuilt.infer(x)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.cam, expected.cam, rtol=0, atol=1e-4)
    assert rebuilt.precision == "fp32"
    assert rebuilt.provenance["mode"] == "eager"


def test_it_runs_the_papers_layers_and_not_our_operator(tmp_path):
    checkpoint = trained_like(Network(width=4, input_size=(8, 16, 16)))
    export_onnx(Source(checkpoint, ""), tmp_path / "model.onnx")
    x = np.zeros((1, 1, 8, 16, 16), np.float32)
    for runner in (
        TorchRunner.from_checkpoint(checkpoint),
        TorchRunner.from_onnx(tmp_path / "model.onnx"),
    ):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            runner.infer(x)
        called = {event.key for event in seen.key_averages()}
        assert "aten::convolution" in called
        assert not any(name.startswith("darnet::") for name in called)


def test_files_that_are_no_export_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("not a model")
    stranger = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    onnx.save(stranger, tmp_path / "stranger.onnx")
    for name in ("text.onnx", "stranger.onnx", "absent.onnx"):
        with pytest.raises(BundleError, match="cannot be rebuilt"):
            TorchRunner.from_onnx(tmp_path / name)
