"""The float32 graph of a run and of the files that were made of it."""

import onnx
import pytest
from onnx.numpy_helper import from_array, to_array

from darnet_trt.errors import BuildError, BundleError
from darnet_trt.export.build import build_bundle
from darnet_trt.export.gates.parity_scans import synthetic_scans
from darnet_trt.export.onnx.reading import float_graph
from darnet_trt.export.onnx.writing import export_onnx
from darnet_trt.export.targets import Candidate


def test_a_run_its_files_and_its_bundle_have_the_same_graph(run, source, tmp_path):
    for name, inline in (("function", False), ("inlined", True)):
        export_onnx(source, tmp_path / f"{name}.onnx", inline=inline)
    spec = source.checkpoint.preprocessing
    candidates = [Candidate("onnxruntime", "fp32")]
    build_bundle(source, tmp_path / "bundle", candidates, synthetic_scans(spec, 1))
    for path in (run, *(tmp_path / n for n in ("function.onnx", "inlined.onnx", "bundle"))):
        graph, found, trained = float_graph(path)
        assert graph == source.float32, path
        assert found == spec
        known = source.checkpoint.training_scans
        assert trained == (known if path.is_dir() else None), path


@pytest.mark.parametrize("renamed", ["classifier.weight", "stages.1.0.conv1.weight"])
def test_a_file_without_the_weights_names_is_refused(source, renamed, tmp_path):
    """As after a tool that rewrote the graph."""
    export_onnx(source, tmp_path / "model.onnx", inline=True)
    model = onnx.load(tmp_path / "model.onnx")
    next(t for t in model.graph.initializer if t.name == renamed).name = "onnx::Conv_1"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx: not a file that darnet-trt export wrote"):
        float_graph(tmp_path / "model.onnx")


def test_damaged_weights_are_named(source, tmp_path):
    export_onnx(source, tmp_path / "model.onnx", inline=True)
    model = onnx.load(tmp_path / "model.onnx")
    weight = next(t for t in model.graph.initializer if t.name == "classifier.weight")
    weight.CopyFrom(from_array(to_array(weight) * float("nan"), weight.name))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BuildError, match=r"classifier\.weight"):
        float_graph(tmp_path / "model.onnx")
