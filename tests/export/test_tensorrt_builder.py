"""Real TensorRT-RTX builds, which need no GPU."""

import sys

import onnx
import pytest

from darnet_trt.errors import BuildError, MissingPackageError
from darnet_trt.export import tensorrt_builder
from darnet_trt.export.onnx_export import export_onnx
from darnet_trt.export.tensorrt_builder import build_tensorrt


@pytest.fixture(scope="module")
def graphs(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for precision in ("fp32", "fp16"):
        export_onnx(source, folder / f"{precision}.onnx", precision)
    return folder


@pytest.fixture(autouse=True)
def _needs_rtx(request):
    if "anywhere" not in request.node.name:
        pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.mark.parametrize(
    ("precision", "target"),
    [("fp16", "portable"), ("fp16", "sm75"), ("fp16", "sm120"), ("fp32", "sm89")],
)
def test_a_plan_for_a_gpu_that_is_not_here(graphs, tmp_path, precision, target):
    plan = tmp_path / "x.plan"
    result = build_tensorrt("tensorrt-rtx", graphs / f"{precision}.onnx", plan, target)
    assert plan.stat().st_size > 10_000
    assert result.version.startswith("1.")


def test_float32_for_sm75_names_the_remedy(graphs, tmp_path):
    with pytest.raises(BuildError, match="--precision fp16"):
        build_tensorrt("tensorrt-rtx", graphs / "fp32.onnx", tmp_path / "x.plan", "sm75")
    assert list(tmp_path.iterdir()) == []


def test_a_target_it_does_not_know(graphs, tmp_path):
    with pytest.raises(BuildError, match="no target sm90"):
        build_tensorrt("tensorrt-rtx", graphs / "fp16.onnx", tmp_path / "x.plan", "sm90")


def test_a_graph_with_an_operator_it_does_not_know(graphs, tmp_path):
    model = onnx.load(graphs / "fp16.onnx")
    del model.functions[:]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(BuildError, match=r"not taken.*FusedDualAttention"):
        build_tensorrt("tensorrt-rtx", tmp_path / "x.onnx", tmp_path / "x.plan", "portable")


def test_a_place_it_cannot_write_to(graphs, tmp_path):
    with pytest.raises(FileNotFoundError):
        build_tensorrt("tensorrt-rtx", graphs / "fp16.onnx", tmp_path / "no" / "x.plan", "sm89")


def test_a_builder_that_aborts_is_an_error_anywhere(tmp_path, monkeypatch):
    package = tmp_path / "tensorrt_rtx.py"
    package.write_text(
        "import os, sys\nprint('an internal fault', file=sys.stderr, flush=True)\nos.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)  # so that it counts as installed
    sys.modules.pop("tensorrt_rtx", None)
    with pytest.raises(BuildError, match=r"ended by SIGABRT; its last words: an internal fault"):
        build_tensorrt("tensorrt-rtx", tmp_path / "m.onnx", tmp_path / "x.plan", "sm89")


def test_an_absent_package_names_its_extra_anywhere(tmp_path, monkeypatch):
    monkeypatch.setitem(tensorrt_builder.PACKAGES, "tensorrt", ("absent_tensorrt", "gpu"))
    with pytest.raises(MissingPackageError, match=r"darnet-trt\[gpu\]"):
        build_tensorrt("tensorrt", tmp_path / "m.onnx", tmp_path / "x.plan", "sm90")
