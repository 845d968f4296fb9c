import math

import onnx
import pytest

from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.runtime.bench.layers.work import work_of
from darnet_trt.training.model import Network
from tests.runtime.bench.layers.network_bundle import float_graph

ODD = (13, 45, 33)


def counted(network):
    """Multiply-adds of the exported graph's convolutions, and weights of all, by part."""
    model = inlined(float_graph(network))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    voxels = {
        value.name: math.prod(d.dim_value for d in value.type.tensor_type.shape.dim[2:])
        for value in (*graph.value_info, *graph.output)
    }
    weights = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    return {
        node.name: weights[node.input[1]] * voxels[node.output[0]]
        for node in graph.node
        if node.op_type == "Conv"
    }


@pytest.mark.parametrize("attention", ["none", "channel", "depth", "both"])
def test_the_multiply_adds_are_those_of_the_exported_graph(attention):
    network = Network(attention=attention, width=8, input_size=ODD)
    convolutions = counted(network)
    work = work_of(attention, 8, ODD, 3)
    found = {(one.part, one.kind): one.macs for one in work}
    assert found["stem", "convolutions"] == convolutions["stem.0"]
    assert found["head", "head"] == convolutions["classifier"]
    for part in {one.part for one in work} - {"stem", "head"}:
        expected = convolutions[f"{part}.conv1"] + convolutions[f"{part}.conv2"]
        assert found[part, "convolutions"] == expected
    assert found["stages.2.0", "shortcut"] > convolutions["stages.2.0.shortcut.0"]
    kinds = {one.kind for one in work}
    assert ("channel attention" in kinds) == (attention in ("channel", "both"))
    assert ("depth attention" in kinds) == (attention in ("depth", "both"))


def test_the_papers_network_has_635_gmac_of_which_stage_1_is_56_percent():
    work = work_of("both", 64, (64, 224, 224), 3)
    total = sum(one.macs for one in work)
    assert total == pytest.approx(635.9e9, rel=1e-3)
    first = sum(one.macs for one in work if one.part.startswith("stages.0"))
    assert first / total == pytest.approx(0.56, abs=0.01)


@pytest.mark.parametrize(("stage", "mb"), [(0, 412.6), (1, 103.6), (2, 26.1), (3, 6.7)])
def test_the_plugin_moves_what_its_kernels_report(stage, mb):
    """The kernels' own count in float16 (docs/kernels.md)."""
    work = work_of("both", 64, (64, 224, 224), 3, fused=True)
    (one,) = [w for w in work if (w.part, w.kind) == (f"stages.{stage}.1", "fused attention")]
    assert 2 * one.elements / 1e6 == pytest.approx(mb, rel=0.01)


def test_the_plugin_leaves_the_projection_apart():
    apart = {(w.part, w.kind): w for w in work_of("both", 8, ODD, 3)}
    fused = {(w.part, w.kind): w for w in work_of("both", 8, ODD, 3, fused=True)}
    assert ("stages.0.1", "shortcut") not in fused
    projection = fused["stages.1.0", "shortcut"]
    assert projection.macs == counted(Network(width=8, input_size=ODD))["stages.1.0.shortcut.0"]
    assert sum(w.macs for w in fused.values()) == sum(w.macs for w in apart.values())
