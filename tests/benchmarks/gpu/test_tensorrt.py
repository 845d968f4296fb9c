"""The comparison of a plan with torch, with ONNX Runtime in the plan's place."""

import numpy as np
import pytest

from benchmarks.gpu import tensorrt
from benchmarks.gpu.networks import paper_network
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from tests.export.networks import trained_like


def test_a_plan_that_runs_is_compared_with_torch(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tensorrt, "ROUNDS", 2)
    checkpoint = trained_like(paper_network("cpu"))
    export_onnx(Source(checkpoint, "0" * 64), tmp_path / "model.onnx")
    runner = OnnxRuntimeRunner(tmp_path / "model.onnx", threads=1)
    shape = (1, 1, *checkpoint.network.input_size)
    x = np.random.default_rng(0).random(shape, np.float32)
    logits = runner.infer(x).logits
    tensorrt.compare(runner, checkpoint, x, logits, "cpu")
    assert "torch / plan" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="differ"):
        tensorrt.compare(runner, checkpoint, x, logits + 9, "cpu")
    runner.close()
