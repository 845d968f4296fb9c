"""TensorRT-RTX's ONNX parser and builder use the plugin. They need no GPU and run no kernel."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor,
    make_tensor_value_info,
)

from darnet_trt.kernels.onnx_function import DOMAIN, GATE_PARAMETERS, NAMES

PROGRAM = Path(__file__).with_name("plan_of_one_plugin.py")
SHAPE = (1, 16, 4, 6, 5)  # n c d h w
TYPES = {
    "FLOAT": TensorProto.FLOAT,
    "HALF": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
}
SCALES = {"x": 0.05, "residual": 0.04, "y": 0.03}


@pytest.fixture
def rtx_libraries(tmp_path):
    """RTX's parser opens `libtensorrt_rtx.so`; the package only has `libtensorrt_rtx.so.1`."""
    found = importlib.util.find_spec("tensorrt_rtx_libs")
    if found is None:
        pytest.skip("tensorrt_rtx is not installed")
    folder = tmp_path / "libraries"
    folder.mkdir()
    real = next(Path(found.submodule_search_locations[0]).glob("libtensorrt_rtx.so*"))
    (folder / "libtensorrt_rtx.so").symlink_to(real)
    return folder


def quantize(name, onnx_type, nodes, constants):
    constants += [
        make_tensor(f"{name}.step", onnx_type, (), [SCALES[name]]),
        make_tensor(f"{name}_zero", TensorProto.INT8, (), [0]),
    ]
    nodes.append(
        make_node("QuantizeLinear", [name, f"{name}.step", f"{name}_zero"], [f"{name}_int8"])
    )
    return f"{name}_int8"


def one_plugin(path, onnx_type, *, int8=False, batch=1, depth=SHAPE[2], weights=None):
    """x, residual (n, c, d, h, w) → Transpose → the plugin → Transpose → out; no function body."""
    c = SHAPE[1]
    nodes, constants, parameters = [], [], []
    for kind, features, hidden in (("channel", c, 2), ("depth", c * depth, depth)):
        shapes = ((hidden, features), (hidden,), (features, hidden), (features,))
        for parameter, shape in zip(GATE_PARAMETERS, shapes, strict=True):
            values = np.full(int(np.prod(shape)), 0.1)
            constants.append(
                make_tensor(f"{kind}.{parameter}", weights or onnx_type, shape, values)
            )
            parameters.append(f"{kind}.{parameter}")
    inputs, attributes, result = [], {}, "y"
    for name in ("x", "residual"):
        last = (0, 2, 3, 4, 1)
        nodes.append(make_node("Transpose", [f"{name}_ncdhw"], [name], perm=last))
        inputs.append(quantize(name, onnx_type, nodes, constants) if int8 else name)
    if int8:
        attributes = {f"{name}_scale": scale for name, scale in SCALES.items()}
    nodes.append(
        make_node(NAMES["both"], [*inputs, *parameters], ["y"], domain=DOMAIN, **attributes)
    )
    if int8:
        constants += [
            make_tensor("y.step", onnx_type, (), [SCALES["y"]]),
            make_tensor("y_zero", TensorProto.INT8, (), [0]),
        ]
        nodes.append(make_node("DequantizeLinear", ["y", "y.step", "y_zero"], ["y_float"]))
        result = "y_float"
    nodes.append(make_node("Transpose", [result], ["out"], perm=(0, 4, 1, 2, 3)))
    shape = (batch, *SHAPE[1:])
    graph = make_graph(
        nodes,
        "one-plugin",
        [make_tensor_value_info(f"{n}_ncdhw", onnx_type, shape) for n in ("x", "residual")],
        [make_tensor_value_info("out", onnx_type, shape)],
        constants,
    )
    opsets = [make_opsetid("", 19), make_opsetid(DOMAIN, 1)]
    onnx.save(make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def build(library, libraries, model):
    """Return what the program found, the plan's bytes (b"" for none), and what it printed."""
    plan = model.with_suffix(".plan")
    done = subprocess.run(
        [sys.executable, PROGRAM, library, model, plan],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), plan.read_bytes() if plan.exists() else b"", done.stderr


@pytest.mark.parametrize("name", TYPES)
def test_a_plan_in_each_type(on_cpu, rtx_libraries, tmp_path, name):
    result, plan, _ = build(
        on_cpu.path, rtx_libraries, one_plugin(tmp_path / "m.onnx", TYPES[name])
    )
    (plugin,) = result["plugins"]
    assert plugin["inputs"] == [f"DataType.{name}"] * 10
    assert plugin["output"] == [f"DataType.{name}", 1, 4, 6, 5, 16]
    assert b"FusedDualAttention" in plan
    assert b"y_scale" not in plan


@pytest.mark.parametrize("name", ["FLOAT", "HALF", "BF16"])
def test_int8_goes_straight_in_and_out(on_cpu, rtx_libraries, tmp_path, name):
    model = one_plugin(tmp_path / "m.onnx", TYPES[name], int8=True)
    result, plan, _ = build(on_cpu.path, rtx_libraries, model)
    (plugin,) = result["plugins"]
    assert plugin["inputs"] == ["DataType.INT8"] * 2 + [f"DataType.{name}"] * 8
    assert plugin["output"] == ["DataType.INT8", 1, 4, 6, 5, 16]
    for serialized in (b"FusedDualAttention", *(f"{tensor}_scale".encode() for tensor in SCALES)):
        assert serialized in plan


def test_a_range_of_batches(on_cpu, rtx_libraries, tmp_path):
    model = one_plugin(tmp_path / "m.onnx", TYPES["HALF"], batch="n")
    result, plan, _ = build(on_cpu.path, rtx_libraries, model)
    assert result["plugins"][0]["output"] == ["DataType.HALF", -1, 4, 6, 5, 16]
    assert b"FusedDualAttention" in plan


def test_another_depth_than_the_weights_names_both(on_cpu, rtx_libraries, tmp_path):
    model = one_plugin(tmp_path / "m.onnx", TYPES["HALF"], depth=3)
    result, plan, said = build(on_cpu.path, rtx_libraries, model)
    assert result["error"]
    assert plan == b""
    assert (
        "darnet-trt plugin: FusedDualAttention: depth squeeze.weight must be (3, 64) for x of "
        "depth 4 with 16 channels and 3 hidden units; it is (3, 48)" in said
    )


def test_parameters_of_another_type_are_named(on_cpu, rtx_libraries, tmp_path):
    model = one_plugin(tmp_path / "m.onnx", TYPES["HALF"], weights=TensorProto.FLOAT)
    result, plan, said = build(on_cpu.path, rtx_libraries, model)
    assert result["error"]
    assert plan == b""
    assert "x must be float32, as the gate parameters are" in said
