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
    "s8": (3, "ecfe7cf0866cf8dd"),
    "u8": (3, "5fd1328668c17443"),
    "plugin": (3, "717233b21e4400cf"),
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
    tensors = quantized_tensors(model, convolutions(model))  # those of every form
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
    found = quantize(model, ranges, convolutions(model, form), form).graph
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


def back(model, name):
    """The weight that a convolution of a quantized graph has, with what comes behind it."""
    values = {t.name: to_array(t).astype(np.float32) for t in model.graph.initializer}
    of_channels = values[f"{name}.scale"] * values.get(f"{name}.factors", np.float32(1)).ravel()
    return values[f"{name}.int8"] * of_channels.reshape(-1, 1, 1, 1, 1), of_channels


@pytest.mark.parametrize(
    ("precision", "form", "by_channel", "scales"),
    [
        ("fp32", "u8", False, 8),
        *((precision, "s8", b, n) for precision in ("fp32", "fp16") for b, n in ((0, 1), (1, 8))),
    ],
)
def test_weights_are_int8_with_one_scale_or_one_for_each_channel(
    ranges, precision, form, by_channel, scales
):
    base, layer = graph(precision), "stages.1.0.conv1"
    quantized = quantize(base, ranges, [layer], form, [layer] if by_channel else [])
    values = {t.name: to_array(t) for t in quantized.graph.initializer}
    (original,) = [to_array(t) for t in base.graph.initializer if t.name == f"{layer}.weight"]
    assert f"{layer}.weight" not in values
    stored = values[f"{layer}.weight.int8"]
    assert stored.dtype == np.int8
    assert np.abs(stored).max() in (126, 127)
    found, steps = back(quantized, f"{layer}.weight")
    assert steps.size == scales
    # Half a step; a little more where the division itself was rounded.
    assert (np.abs(found - original) <= 0.501 * steps.reshape(-1, 1, 1, 1, 1)).all()


def test_a_scale_for_each_channel_is_a_factor_behind_the_convolution(model, ranges, volume):
    uneven = with_weight(model, "stages.1.0.conv1.weight", lambda w: w * spread(len(w), 300))
    layers = ["stages.1.0.conv1"]
    (expected,) = run(uneven, volume)
    errors = []
    for by_channel in ([], layers):
        quantized = quantize(uneven, ranges_on(uneven, volume), layers, "s8", by_channel)
        onnx.checker.check_model(quantized, full_check=True)
        assert len(nodes(quantized, "Mul")) == len(by_channel)
        (got,) = run(quantized, volume)
        errors.append(float(np.abs(got - expected).max()))
        for weight in nodes(quantized, "DequantizeLinear"):
            (scale,) = [t for t in quantized.graph.initializer if t.name == weight.input[1]]
            assert to_array(scale).shape == ()
    assert errors[1] < 0.3 * errors[0]


def spread(channels, factor):
    """Factors of output channels, from 1 to 1 / factor."""
    return np.float32(factor) ** -np.linspace(0, 1, channels, dtype=np.float32).reshape(
        -1, 1, 1, 1, 1
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_channel_without_weights_gets_a_factor_too(ranges, precision):
    layer = "stages.1.0.conv1"
    off = scaled(graph(precision), f"{layer}.weight", 0)
    for by_channel in ([], [layer]):
        quantized = quantize(off, ranges, [layer], "s8", by_channel)
        found, steps = back(quantized, f"{layer}.weight")
        assert np.isfinite(found).all()
        assert not found[0].any()
        assert (steps > 0).all()
        everything = with_weight(off, f"{layer}.weight", np.zeros_like)
        nothing, _ = back(
            quantize(everything, ranges, [layer], "s8", by_channel), f"{layer}.weight"
        )
        assert not nothing.any()


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
    for form in ("s8", "u8"):
        assert quantized_tensors(model, ["stages.0.0.conv1"], form) == ("stem.1.relu",)
    assert quantized_tensors(model, ["stages.1.0.conv2", "stages.1.0.shortcut.0"]) == (
        "stages.0.1.out",
        "stages.1.0.bn1.relu",
        "stages.1.0.bn2.out",
        "stages.1.0.shortcut.1.out",
    )
    assert quantized_tensors(model, ["stages.1.0.conv2", "stages.1.0.shortcut.0"], "s8") == (
        "stages.0.1.out",
        "stages.1.0.bn1.relu",
    )
    assert set(convolutions(model)) - set(convolutions(model, "s8")) == {"stem.0"}
    quantized = quantize(model, ranges, ["stages.0.0.conv1"], "s8")
    other = next(node for node in nodes(quantized, "Conv") if node.name == "stages.0.0.conv2")
    assert other.input[1] == "stages.0.0.conv2.weight"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_plugin_reads_an_int8_residual_and_writes_int8(ranges, precision):
    base = graph(precision)
    quantized = quantize(base, ranges, convolutions(base, "plugin"), "plugin")
    producer = {output: node for node in quantized.graph.node for output in node.output}
    for tail in (node for node in quantized.graph.node if node.op_type in ATTENTIONS):
        given = {a.name: a.f for a in tail.attribute if a.name.endswith("_scale")}
        block = tail.name.removesuffix(".attention")
        x, residual = (producer[producer[name].input[0]] for name in tail.input[:2])
        assert x.name == f"{block}.conv2"  # in float
        expected = set() if block == "stages.3.1" else {"y_scale"}  # the head reads float
        if residual.name.startswith("stem"):
            assert residual.op_type == "QuantizeLinear"
            expected |= {"residual_scale"}
            assert given["residual_scale"] == pytest.approx(
                ranges["stem.1.relu"].largest / 127, rel=1e-3
            )
        elif residual.op_type == "Transpose":  # another plugin's output
            assert producer[residual.input[0]].op_type in ATTENTIONS
            expected |= {"residual_scale"}
        else:
            assert residual.name == f"{block}.shortcut.0"
        assert set(given) == expected


def test_forms_of_plans_compute_the_same(model, ranges):
    """So that one of them can stand in for the other: where "s8" has Q/DQ, "plugin" has int8."""
    layers = convolutions(model, "s8")
    s8, plugin = (quantize(model, ranges, layers, form) for form in ("s8", "plugin"))
    pairs = {n.output[0] for n in nodes(s8, "DequantizeLinear")}
    assert {n.output[0] for n in nodes(plugin, "DequantizeLinear")} == pairs
    written = {n.output[0] for n in nodes(plugin, "QuantizeLinear")}
    by_plugins = {n.output[0] for n in nodes(s8, "QuantizeLinear")} - written
    assert {n.output[0] for n in nodes(plugin, "Transpose")} >= by_plugins
    assert len(by_plugins) == 7
    values = [{t.name: to_array(t).tobytes() for t in m.graph.initializer} for m in (s8, plugin)]
    assert values[0] == values[1]


def test_a_tail_behind_a_float_convolution_reads_and_writes_the_same(model, ranges):
    layers = set(convolutions(model, "plugin")) - {"stages.0.1.conv2"}
    quantized = quantize(model, ranges, layers, "plugin")
    tail = next(n for n in quantized.graph.node if n.name == "stages.0.1.attention")
    scales = {a.name for a in tail.attribute if a.name.endswith("_scale")}
    assert scales == {"residual_scale", "y_scale"}


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
    # The input's quantization, and the scale of the last map, which two outputs read.
    assert layers.count("Eltwise") + layers.count("Subgraph") <= 2


def scaled(model, name, factor):
    """With the first output channel of a weight scaled."""

    def scale(values):
        values[0] *= factor
        return values

    return with_weight(model, name, scale)


@pytest.mark.parametrize(("largest", "error"), [(1e-3, 0.01), (3e-5, 0.02), (5e-6, 0.05)])
def test_a_channel_of_small_weights_keeps_its_steps_in_float16(ranges, largest, error):
    layer, name = "stages.1.0.conv1", "stages.1.0.conv1.weight"
    model = graph("fp16")
    weights = {t.name: to_array(t) for t in model.graph.initializer}[name]
    small = scaled(model, name, np.float16(largest / np.abs(weights[0]).max()))
    weights = {t.name: to_array(t) for t in small.graph.initializer}[name][0].astype(np.float32)
    found, _ = back(quantize(small, ranges, [layer], "s8", [layer]), name)
    assert np.sqrt(np.square(found[0] - weights).mean() / np.square(weights).mean()) <= error


@pytest.mark.parametrize(("largest", "error"), [(1e-3, 0.01), (3e-5, 0.02), (5e-6, 0)])
def test_small_weights_keep_their_steps_in_float16(ranges, largest, error):
    name, base = "stages.1.0.conv1.weight", graph("fp16")
    (weights,) = [to_array(t) for t in base.graph.initializer if t.name == name]
    weights = weights * np.float16(largest / np.abs(weights).max())
    small = with_weight(base, name, lambda _: weights)
    found, _ = back(quantize(small, ranges, ["stages.1.0.conv1"], "s8"), name)
    exact = weights.astype(np.float32)
    assert np.sqrt(np.square(found - exact).mean() / np.square(exact).mean()) <= error


@pytest.mark.parametrize("form", ["s8", "plugin"])
@pytest.mark.parametrize("largest", [1e-6, 1e-3])
def test_an_activation_of_small_values_keeps_its_steps_in_float16(ranges, largest, form):
    tensor = "stages.0.0.out"
    narrow = {**ranges, tensor: Range(largest, signed=False)}
    base = graph("fp16")
    quantized = quantize(base, narrow, convolutions(base, form), form)
    scale = next(t for t in quantized.graph.initializer if t.name == f"{tensor}.scale")
    assert float(to_array(scale)) == pytest.approx(largest / 127, rel=1e-5)
    if form == "plugin":
        tails = {n.name: n for n in quantized.graph.node if n.op_type in ATTENTIONS}
        for name, field in (
            ("stages.0.0.attention", "y_scale"),
            ("stages.0.1.attention", "residual_scale"),
        ):
            (given,) = [a.f for a in tails[name].attribute if a.name == field]
            assert given == pytest.approx(largest / 127, rel=1e-5)


def test_small_activations_survive_in_float16(volume):
    """One convolution gives values that float16 has no normal number for."""
    name, tensor = "stages.0.0.conv1.weight", "stages.0.0.bn1.relu"
    small = [graph("fp32"), graph("fp16")]
    for weight in (name, "stages.0.0.bn1.bias"):
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
