"""The ONNX files, with the function and inlined: equal to torch, complete, the same each time."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from darnet_trt.errors import BuildError, OutputError
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.kernels.onnx_function import DOMAIN
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.package import import_openvino
from darnet_trt.runtime.engines.runner import OUTPUTS
from darnet_trt.training.model import Network
from tests.export.networks import TINY, trained_like

openvino = import_openvino()
ATTENTIONS = ["none", "channel", "depth", "both"]


def exported(checkpoint, tmp_path, precision="fp32", *, inline=False):
    path = tmp_path / f"{precision}{'-inline' * inline}.onnx"
    export_onnx(Source(checkpoint, "0" * 64), path, precision, inline=inline)
    return path


def scans(n, size, seed=0):
    return np.random.default_rng(seed).random((n, 1, *size), np.float32)


def onnxruntime_outputs(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), {"input": x})


def torch_outputs(checkpoint, x):
    with torch.inference_mode():
        return [t.numpy() for t in checkpoint.model()(torch.from_numpy(x))]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("size", [(16, 32, 32), (17, 33, 35), (8, 47, 16)])
def test_equals_torch_for_any_batch(attention, size, tmp_path):
    checkpoint = trained_like(Network(attention=attention, width=4, input_size=size), seed=1)
    path = exported(checkpoint, tmp_path)
    for n in (1, 3):
        x = scans(n, size)
        pairs = zip(onnxruntime_outputs(path, x), torch_outputs(checkpoint, x), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_float16_keeps_float32_borders_and_stays_close(attention, tmp_path):
    checkpoint = trained_like(TINY.model_copy(update={"attention": attention}), seed=2)
    path = exported(checkpoint, tmp_path, "fp16")
    x = scans(2, TINY.input_size)
    logits, *maps = onnxruntime_outputs(path, x)
    expected_logits, *expected_maps = torch_outputs(checkpoint, x)
    np.testing.assert_allclose(logits, expected_logits, rtol=0, atol=0.02)
    for found, expected in zip(maps, expected_maps, strict=True):
        assert found.dtype == logits.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.abs(expected).max())
    float32 = [
        t.name for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.FLOAT
    ]
    assert float32 == ["classifier.bias"]


@pytest.mark.parametrize("inline", [False, True])
def test_the_bfloat16_graph_agrees_within_its_rounding(inline, tmp_path):
    checkpoint = trained_like(TINY)
    path = exported(checkpoint, tmp_path, "bf16", inline=inline)
    x = scans(2, TINY.input_size)
    # No CPU engine has bfloat16 convolutions, so ONNX's own evaluator runs it.
    outputs = ReferenceEvaluator(onnx.load(path)).run(None, {"input": x})
    for found, expected in zip(outputs, torch_outputs(checkpoint, x), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.05 * np.abs(expected).max())
        assert np.abs(found - expected).max() > 1e-4  # it did not run in float32
    model = onnx.load(path)
    assert {t.name: t.data_type for t in model.graph.initializer}["stem.0.weight"] == (
        onnx.TensorProto.BFLOAT16
    )


def test_names_metadata_and_shapes(source, tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(source, path)
    onnx.checker.check_model(path, full_check=True)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["checkpoint_sha256"] == source.sha256
    assert json.loads(properties["classes"]) == list(source.checkpoint.network.classes)
    assert Network.model_validate_json(properties["network"]) == source.checkpoint.network
    assert json.loads(properties["preprocessing"])["size"] == [16, 32, 32]
    assert properties["trained_on"] == "nothing: random weights for a test"
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "input": ["batch", 1, 16, 32, 32],
        "logits": ["batch", 3],
        "cam": ["batch", 3, 2, 2, 2],
        "features": ["batch", 8 * TINY.width],
    }
    names = {t.name for t in model.graph.initializer} - {"axes_dhw"}
    assert names <= set(source.checkpoint.state_dict)
    assert "stages.0.0.conv1.weight" in names


def test_each_block_is_one_call_of_the_fused_attention(source, tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(source, path)
    model = onnx.load(path)
    calls = [n.name for n in model.graph.node if n.domain == DOMAIN]
    assert calls == [f"stages.{s}.{b}.attention" for s in range(4) for b in range(2)]
    assert [f.name for f in model.functions] == ["FusedDualAttention"]
    body = [n.op_type for n in model.functions[0].node]
    assert body.count("ReduceMean") == 2  # over h and w once, then over d of what is left


@pytest.mark.parametrize("attention", ["channel", "depth", "both"])
def test_cpu_engines_run_no_transposes(attention, tmp_path):
    checkpoint = trained_like(TINY.model_copy(update={"attention": attention}))
    path = exported(checkpoint, tmp_path)
    calls = [n for n in onnx.load(path).graph.node if n.domain == DOMAIN]
    assert all(len(n.input) in (6, 10) and n.input[0].endswith("ndhwc") for n in calls)

    path = exported(checkpoint, tmp_path, inline=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine only
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    runs = [n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "Transpose" not in runs
    assert sum(name.endswith("Conv") for name in runs) == 21

    xml, _ = build_openvino(path, tmp_path / "openvino")
    core = openvino.Core()
    network = core.read_model(xml)
    network.reshape([1, 1, *TINY.input_size])
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    layers = [op.get_rt_info()["layerType"].value for op in compiled.get_runtime_model().get_ops()]
    assert layers.count("Convolution") == 21
    assert "Transpose" not in layers


@pytest.mark.parametrize(
    ("attention", "precision"), [*((one, "fp32") for one in ATTENTIONS), ("both", "fp16")]
)
def test_an_inlined_file_gives_every_reader_the_same_outputs(attention, precision, tmp_path):
    checkpoint = trained_like(TINY.model_copy(update={"attention": attention}), seed=3)
    path = exported(checkpoint, tmp_path, precision, inline=True)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert [opset.domain for opset in model.opset_import] == [""]
    assert all(node.name for node in model.graph.node)
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    outputs = {output for node in model.graph.node for output in node.output}
    assert {f"stages.{s}.{b}.out" for s in range(4) for b in range(2)} <= outputs

    x = scans(2, TINY.input_size)
    expected = onnxruntime_outputs(exported(checkpoint, tmp_path, precision), x)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    by_openvino = compiled({"input": x})
    found = {
        "onnxruntime": onnxruntime_outputs(path, x),
        "openvino": [by_openvino[name] for name in OUTPUTS],
        "onnx": ReferenceEvaluator(model).run(list(OUTPUTS), {"input": x}),
    }
    # float16 is exact to 2⁻¹¹; OpenVINO computes it in float32 here.
    error = 1e-5 if precision == "fp32" else 5e-3
    for reader, outputs in found.items():
        for given, wanted in zip(outputs, expected, strict=True):
            limit = error * np.abs(wanted).max()
            np.testing.assert_allclose(given, wanted, rtol=0, atol=limit, err_msg=reader)


@pytest.mark.parametrize("inline", [False, True])
def test_the_same_checkpoint_gives_the_same_bytes(source, inline, tmp_path):
    digests = set()
    for name in ("a.onnx", "b.onnx"):
        export_onnx(source, tmp_path / name, inline=inline)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_weight_that_overflows_float16_is_an_error(tmp_path):
    checkpoint = trained_like(TINY)
    checkpoint.state_dict["stages.1.0.conv1.weight"][0, 0, 0, 0, 0] = 1e6
    with pytest.raises(BuildError, match=r"stages\.1\.0\.conv1\.weight does not fit float16"):
        exported(checkpoint, tmp_path, "fp16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("damaged", "value", "named"),
    [
        ("stages.1.0.conv1.weight", np.nan, "stages.1.0.conv1.weight"),
        ("classifier.bias", np.inf, "classifier.bias"),
        ("stages.1.0.bn1.running_var", -1.0, "stages.1.0.conv1.weight"),
        ("stages.1.0.bn1.weight", np.inf, "stages.1.0.conv1.weight"),
    ],
)
def test_damaged_weights_are_named(damaged, value, named, precision, tmp_path):
    checkpoint = trained_like(TINY)
    checkpoint.state_dict[damaged].flatten()[0] = value
    with pytest.raises(BuildError) as caught:
        exported(checkpoint, tmp_path, precision)
    assert str(caught.value) == (
        f"the weight {named} holds NaN or infinite values; the weights are damaged; train again"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("obeyed_permissions")
def test_an_unwritable_path_is_an_output_error(source, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        export_onnx(source, tmp_path / "absent" / "model.onnx")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        export_onnx(source, tmp_path / "model.onnx")
    tmp_path.chmod(0o700)
