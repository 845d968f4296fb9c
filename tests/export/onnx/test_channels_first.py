"""The graph for TensorRT's own layout: the same calls, without the transposes around them."""

import onnx
import pytest

from darnet_trt.export.onnx.channels_first import channels_first
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.kernels.onnx_function import DOMAIN
from tests.export.networks import TINY, graph_of, trained_like


def calls(model):
    return [node for node in model.graph.node if node.domain == DOMAIN]


@pytest.mark.parametrize("attention", ["channel", "depth", "both"])
def test_the_attention_reads_what_convolutions_write(attention):
    model = graph_of(trained_like(TINY.model_copy(update={"attention": attention})))
    changed = channels_first(model)
    assert len(calls(changed)) == len(calls(model)) == 8
    assert "Transpose" not in {node.op_type for node in changed.graph.node}
    assert not changed.functions
    assert model.functions  # the original is as it was
    made = {o for node in changed.graph.node for o in node.output}
    weights = {tensor.name for tensor in changed.graph.initializer}
    for node in changed.graph.node:
        assert set(node.input) <= made | weights | {"input"}
    for before, after in zip(calls(model), calls(changed), strict=True):
        axis = [a.i for a in after.attribute if a.name == "channel_axis"]
        assert axis == [1]
        assert after.input[2:] == before.input[2:]
        assert after.input[0].endswith("bn2.out")
        assert after.output[0] == f"{after.name.removesuffix('.attention')}.out"


def test_tensorrt_rtx_takes_the_float32_format_as_its_own(tmp_path, cpu_library):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    model = graph_of(trained_like(TINY))
    found = []
    for graph in (model, channels_first(model)):
        onnx.save(graph, tmp_path / "m.onnx")
        job = Job(
            backend="tensorrt-rtx",
            onnx=tmp_path / "m.onnx",
            plan=tmp_path / "x.plan",
            target="sm89",
            plugin=cpu_library,
        )
        built = build_tensorrt(job)
        found.append((built.kernels, built.work))
    (kernels, work), (own_kernels, own_work) = found
    assert kernels == own_kernels
    # The features' mean may be computed before or behind a transpose, with the map read once more.
    last_map = 4 * 8 * TINY.width * 8
    assert abs(work.activations - own_work.activations) <= last_map
    assert work.model_copy(update={"activations": own_work.activations}) == own_work
    assert kernels["plugin"] == {"fp32": 8}
