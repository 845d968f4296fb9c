"""Plans of a tiny network for every GPU that TensorRT-RTX knows, with the plugin and without."""

import itertools

import onnx
import pytest

from darnet_trt.calibration.qdq import Range, convolutions, quantize, quantized_tensors
from darnet_trt.errors import BuildError
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.export.tensorrt.layer_table import kernels_of, work_of
from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS
from tests.export.networks import TINY, graph_of, trained_like
from tests.short import SHORT

CONVOLUTIONS = {"fp16": {"fp16": 21}, "bf16": {"bf16": 21}, "int8": {"int8": 19, "fp16": 2}}
NO_BFLOAT16 = "this architecture has no bfloat16; use --precision fp16"


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The file of each precision's graph, with the plugin and without."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    checkpoint, folder, files = trained_like(TINY), tmp_path_factory.mktemp("graphs"), {}
    half = graph_of(checkpoint, "fp16")
    for plugin in (True, False):
        form = "plugin" if plugin else "s8"
        layers = convolutions(half, form)
        ranges = {t: Range(4.0, signed=True) for t in quantized_tensors(half, layers, form)}
        int8 = quantize(half, ranges, layers, form)
        for name, graph in (("fp16", half), ("bf16", graph_of(checkpoint, "bf16")), ("int8", int8)):
            files[name, plugin] = folder / f"{name}-{form}.onnx"
            onnx.save(graph, files[name, plugin])
    return files


def every_plan():
    """Each GPU with each precision, in turn with the plugin and without; the others are slow."""
    for n, (target, precision) in enumerate(itertools.product(RTX_TARGETS, CONVOLUTIONS)):
        for plugin in (n % 2 == 0,) if SHORT else (True, False):
            marks = pytest.mark.long if plugin == (n % 2 == 0) else pytest.mark.slow
            name = f"{target}-{precision}-{'plugin' if plugin else 'no-plugin'}"
            yield pytest.param(target, precision, plugin, marks=marks, id=name)


@pytest.mark.parametrize(("target", "precision", "plugin"), [*every_plan()])
def test_every_plan_builds_or_says_why_not(
    graphs, cpu_library, tmp_path, target, precision, plugin
):
    plan = tmp_path / "x.plan"
    job = Job(
        backend="tensorrt-rtx",
        onnx=graphs[precision, plugin],
        plan=plan,
        target=target,
        plugin=cpu_library if plugin else None,
    )
    if (target, precision) == ("sm75", "bf16"):
        with pytest.raises(BuildError, match=NO_BFLOAT16):
            build_tensorrt(job)
        assert not list(tmp_path.iterdir())
        return
    built = build_tensorrt(job)
    assert [file.name for file in tmp_path.iterdir()] == ["x.plan"]
    assert kernels_of(built.layers) == built.kernels
    assert work_of(built.layers) == built.work
    found = built.kernels["convolution"]
    if target == "sm75":
        assert "int8" not in found  # its only convolutions are float16
        assert found["fp16"] >= 20
    else:
        assert found == CONVOLUTIONS[precision]
    attention = "bf16" if precision == "bf16" else "fp16"
    assert built.kernels.get("plugin") == ({attention: 8} if plugin else None)
