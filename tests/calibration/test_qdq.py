"""The Q/DQ forms: the graph, and what ONNX Runtime and OpenVINO compute with it."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.numpy_helper import from_array, to_array

from darnet_trt.calibration.qdq import (
    ATTENTIONS,
    VERSION,
    Range,
    convolutions,
    quantize,
    quantized_tensors,
)
from darnet_trt.errors import UsageError
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.package import import_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from tests.export.networks import TINY, graph_of, trained_like, with_weight

PINNED = {
    "s8": (1, "72462ce6cd276756"),
    "u8": (1, "10a04aabd3331f51"),
    "plugin": (1, "1860aa4cf7569092"),
}


def graph(precision="fp32", attention="both"):
    return graph_of(trained_like(TINY.model_copy(update={"attention": attention})), precision)


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).random((1, 1, *TINY.input_size), np.float32)


@pytest.fixture(scope="module")
def ranges(model, volume):
    return ranges_on(model, volume)


def ranges_on(model, volume):
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    tensors = quantized_tensors(model, convolutions(model))
    for name in tensors[1:]:
        watched.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    values = (volume, *run(watched, volume, tensors[1:]))
    return {
        name: Range(float(np.abs(value).max()), bool(value.min() < 0))
        for name, value in zip(tensors, values, strict=True)
    }


def run(model, volume, outputs=("logits",)):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(list(outputs), {"input": volume})


def nodes(model, kind):
    return [node for node in model.graph.node if node.op_type == kind]


@pytest.mark.parametrize("form", ["s8", "u8", "plugin"])
def test_another_graph_needs_another_version(form):
    """Cached trials are found by `VERSION`: raise it whenever `quantize` changes these digests.

    A change of the float32 graph alone changes them, too, and needs no other version.
    """
    model = graph()
    for tensor in model.graph.initializer:  # the same on every machine and in every torch
        values = np.arange(np.prod(tensor.dims), dtype=np.float32) % 7 / 8 - 0.25
        tensor.CopyFrom(from_array(values.reshape(tensor.dims), tensor.name))
    names = quantized_tensors(model, convolutions(model))
    ranges = {name: Range(4.0, i % 2 == 0) for i, name in enumerate(names)}
    found = quantize(model, ranges, convolutions(model)[1:], form).graph
    content = hashlib.sha256()
    for node in found.node:
        content.update(node.SerializeToString(deterministic=True))
    for tensor in found.initializer:
        content.update(tensor.name.encode() + to_array(tensor).tobytes())
    assert (VERSION, content.hexdigest()[:16]) == PINNED[form]


@pytest.mark.parametrize("form", ["s8", "u8"])
def test_a_quantized_graph_computes_nearly_the_same(model, ranges, volume, form):
    quantized = quantize(model, ranges, convolutions(model), form)
    onnx.checker.check_model(quantized, full_check=True)
    (expected,), (got,) = run(model, volume), run(quantized, volume)
    assert 0 < np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


def test_each_layer_in_float_lowers_the_error(model, ranges, volume):
    layers = convolutions(model)
    (expected,) = run(model, volume)
    errors = []
    for count in (20, 1, 0):
        (got,) = run(quantize(model, ranges, layers[:count], "s8"), volume)
        errors.append(float(np.abs(got - expected).max()))
    assert errors[0] > errors[1] > errors[2] == 0


def test_weights_are_int8_with_a_scale_for_each_channel(model, ranges):
    quantized = quantize(model, ranges, ["stages.1.0.conv1"], "s8")
    values = {t.name: to_array(t) for t in quantized.graph.initializer}
    original = {t.name: to_array(t) for t in model.graph.initializer}
    name = "stages.1.0.conv1.weight"
    assert name not in values
    stored, scales = values[f"{name}.int8"], values[f"{name}.scale"]
    assert stored.dtype == np.int8
    assert scales.shape == (stored.shape[0],)
    back = stored * scales.reshape(-1, 1, 1, 1, 1)
    # Half a step; a little more where the division itself was rounded.
    assert (np.abs(back - original[name]) <= 0.501 * scales.reshape(-1, 1, 1, 1, 1)).all()
    assert (np.abs(stored).reshape(len(stored), -1).max(1) == 127).all()


def test_forms_differ_in_zero_points_and_biases(model, ranges):
    layers = convolutions(model)
    s8, u8 = (quantize(model, ranges, layers, form) for form in ("s8", "u8"))
    zeros = {t.name: to_array(t) for t in s8.graph.initializer if t.name.endswith(".zero")}
    assert all(value.dtype == np.int8 and not value.any() for value in zeros.values())
    values = {t.name: to_array(t) for t in u8.graph.initializer}
    assert values["stem.1.relu.zero"] == 0
    assert values["stages.0.0.bn2.out.zero"] == 128
    assert values["stem.1.bias.int32"].dtype == np.int32
    assert "stem.1.bias" not in values


def test_only_tensors_of_quantized_layers_are_quantized(model, ranges):
    assert quantized_tensors(model, ["stages.0.0.conv1"]) == ("stem.1.relu",)
    assert quantized_tensors(model, ["stages.1.0.conv2", "stages.1.0.shortcut.0"]) == (
        "stages.0.1.out",
        "stages.1.0.bn1.relu",
        "stages.1.0.bn2.out",
        "stages.1.0.shortcut.1.out",
    )
    quantized = quantize(model, ranges, ["stages.0.0.conv1"], "s8")
    other = next(node for node in nodes(quantized, "Conv") if node.name == "stages.0.0.conv2")
    assert other.input[1] == "stages.0.0.conv2.weight"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_plugin_reads_and_writes_int8(ranges, precision):
    base = graph(precision)
    quantized = quantize(base, ranges, convolutions(base), "plugin")
    tails = [node for node in quantized.graph.node if node.op_type in ATTENTIONS]
    given = [{a.name: a.f for a in node.attribute if a.name.endswith("_scale")} for node in tails]
    assert all(set(one) == {"x_scale", "residual_scale", "y_scale"} for one in given[:-1])
    assert set(given[-1]) == {"x_scale", "residual_scale"}  # the head reads it in float
    first = ranges["stages.0.0.bn2.out"].largest / 127
    assert given[0]["x_scale"] == pytest.approx(first, rel=1e-3)
    producer = {output: node for node in quantized.graph.node for output in node.output}
    for tail in tails:
        for name in tail.input[:2]:
            before = producer[producer[name].input[0]]
            assert before.op_type == "QuantizeLinear" or (
                before.op_type == "Transpose" and producer[before.input[0]].op_type in ATTENTIONS
            )


def test_a_tail_behind_a_float_convolution_stays_in_float(model, ranges):
    layers = set(convolutions(model)) - {"stages.0.1.conv2"}
    quantized = quantize(model, ranges, layers, "plugin")
    tail = next(n for n in quantized.graph.node if n.name == "stages.0.1.attention")
    assert not [a.name for a in tail.attribute if a.name.endswith("_scale")]
    producer = {output: node for node in quantized.graph.node for output in node.output}
    assert producer[producer[tail.input[1]].input[0]].op_type == "DequantizeLinear"
    assert producer["stages.0.1.out.quantized"].op_type == "QuantizeLinear"


def test_a_quantized_graph_is_not_quantized_again(model, ranges):
    quantized = quantize(model, ranges, convolutions(model), "s8")
    with pytest.raises(UsageError, match="already quantized; give the float32 one"):
        quantize(quantized, ranges, ["stem.0"], "s8")


def test_an_unknown_layer_is_named(model, ranges):
    with pytest.raises(UsageError, match=r"no convolution stem\.9"):
        quantize(model, ranges, ["stem.9"], "s8")


def test_a_channel_of_zeros_stays_zero(model, ranges):
    off = scaled(model, "stem.0.weight", 0)
    quantized = quantize(off, ranges, ["stem.0"], "u8")
    values = {t.name: to_array(t) for t in quantized.graph.initializer}
    assert not values["stem.0.weight.int8"][0].any()
    assert np.isfinite(values["stem.0.weight.scale"]).all()


@pytest.mark.parametrize("form", ["s8", "u8"])
def test_without_attention_sums_read_int8(volume, form):
    model = graph(attention="none")
    ranges = ranges_on(model, volume)
    quantized = quantize(model, ranges, convolutions(model), form)
    onnx.checker.check_model(quantized, full_check=True)
    sums = [node for node in nodes(quantized, "Add") if node.name.endswith(".sum")]
    producer = {output: node for node in quantized.graph.node for output in node.output}
    assert len(sums) == 8
    for node in sums:
        assert [producer[name].op_type for name in node.input] == ["DequantizeLinear"] * 2
    (expected,), (got,) = run(model, volume), run(quantized, volume)
    assert 0 < np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


def test_a_sum_behind_a_float_convolution_stays_in_float(volume):
    model = graph(attention="none")
    layers = set(convolutions(model)) - {"stages.0.1.conv2"}
    quantized = quantize(model, ranges_on(model, volume), layers, "s8")
    (one,) = [node for node in quantized.graph.node if node.name == "stages.0.1.sum"]
    assert list(one.input) == ["stages.0.1.bn2.out", "stages.0.0.out.dequantized"]


def test_openvino_fuses_the_sum_into_the_convolution(volume, tmp_path):
    model = graph(attention="none")
    ranges = ranges_on(model, volume)
    onnx.save(quantize(model, ranges, convolutions(model), "u8"), tmp_path / "u8.onnx")
    core = import_openvino().Core()
    network = core.read_model(tmp_path / "u8.onnx")
    network.reshape([1, 1, *TINY.input_size])
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    layers = [op.get_rt_info()["layerType"].value for op in compiled.get_runtime_model().get_ops()]
    assert layers.count("Convolution") == 21
    assert layers.count("Eltwise") + layers.count("Subgraph") <= 1  # the input's quantization


def scaled(model, name, factor):
    """With the first output channel of a weight scaled."""

    def scale(values):
        values[0] *= factor
        return values

    return with_weight(model, name, scale)


@pytest.mark.parametrize(("largest", "error"), [(1e-3, 0.01), (3e-5, 0.02), (5e-6, 0)])
def test_a_channel_of_small_weights_keeps_its_steps_in_float16(ranges, largest, error):
    name = "stages.1.0.conv1.weight"
    model = graph("fp16")
    weights = {t.name: to_array(t) for t in model.graph.initializer}[name]
    small = scaled(model, name, np.float16(largest / np.abs(weights[0]).max()))
    weights = {t.name: to_array(t) for t in small.graph.initializer}[name][0].astype(np.float32)
    quantized = quantize(small, ranges, ["stages.1.0.conv1"], "s8")
    values = {t.name: to_array(t) for t in quantized.graph.initializer}
    back = values[f"{name}.int8"][0] * np.float32(values[f"{name}.scale"][0])
    assert np.sqrt(np.square(back - weights).mean() / np.square(weights).mean()) <= error
    assert np.abs(values[f"{name}.int8"]).max() <= 127


@pytest.mark.parametrize("form", ["s8", "plugin"])
@pytest.mark.parametrize("largest", [1e-6, 1e-3])
def test_an_activation_of_small_values_keeps_its_steps_in_float16(ranges, largest, form):
    tensor = "stages.0.0.bn2.out"
    narrow = {**ranges, tensor: Range(largest, signed=True)}
    quantized = quantize(graph("fp16"), narrow, convolutions(graph("fp16")), form)
    scale = next(t for t in quantized.graph.initializer if t.name == f"{tensor}.scale")
    assert float(to_array(scale)) == pytest.approx(largest / 127, rel=1e-5)
    if form == "plugin":
        tail = next(n for n in quantized.graph.node if n.name == "stages.0.0.attention")
        (given,) = [a.f for a in tail.attribute if a.name == "x_scale"]
        assert given == pytest.approx(largest / 127, rel=1e-5)


def test_small_activations_survive_in_float16(volume):
    """One block's second convolution gives values that float16 has no normal number for."""
    name, tensor = "stages.0.0.conv2.weight", "stages.0.0.bn2.out"
    small = [graph("fp32"), graph("fp16")]
    for weight in (name, "stages.0.0.bn2.bias"):
        small = [with_weight(m, weight, lambda v: (v * 2e-4).astype(v.dtype)) for m in small]
    ranges = ranges_on(small[0], volume)
    assert ranges[tensor].largest < 127 * np.finfo(np.float16).tiny
    quantized = quantize(small[1], ranges, ["stages.0.0.conv2"], "s8")
    onnx.checker.check_model(quantized, full_check=True)
    quantized.graph.output.append(onnx.helper.make_empty_tensor_value_info(f"{tensor}.dequantized"))
    before = onnx.ModelProto()
    before.CopyFrom(small[0])
    before.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    (expected,) = run(before, volume, [tensor])
    (got,) = run(quantized, volume, [f"{tensor}.dequantized"])
    assert got.dtype == np.float16
    assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


def test_a_bias_larger_than_its_channels_weights_is_kept(model, ranges, volume):
    """A channel that training has all but switched off gives its bias."""
    name = "stages.1.0.conv1"
    off = scaled(model, f"{name}.weight", 1e-9)
    quantized = quantize(off, ranges, [name], "u8")
    values = {t.name: to_array(t) for t in (*off.graph.initializer, *quantized.graph.initializer)}
    bias = "stages.1.0.bn1.bias"
    back = values[f"{bias}.int32"][0] * np.float64(values[f"{bias}.scale"][0])
    assert back == pytest.approx(values[bias][0], rel=1e-6)
    scale_x = values["stages.0.1.out.scale"]
    assert values[f"{bias}.scale"][0] == scale_x * values[f"{name}.weight.scale"][0]


def test_openvino_reports_int8(model, ranges, volume, tmp_path):
    quantized = quantize(model, ranges, convolutions(model), "u8")
    xml, _ = build_openvino(inlined(quantized), tmp_path / "openvino")
    runner = OpenVINORunner(xml, precision="int8")
    assert runner.precision == "int8"
    assert runner.provenance["int8 convolutions"] == "20"
    (expected,) = run(model, volume)
    assert np.abs(runner.infer(volume).logits - expected).max() < 0.1 * np.abs(expected).max()
    runner.close()


def test_a_float_graph_is_never_called_int8(model, tmp_path):
    xml, _ = build_openvino(inlined(model), tmp_path / "openvino")
    runner = OpenVINORunner(xml, precision="int8")
    assert runner.precision == "fp32"
    runner.close()
