"""TensorRT-RTX's ONNX parser and builder use the plugin. They need no GPU and run no kernel."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

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

from darnet_trt.kernels.onnx_function import DOMAIN, NAMES, TO_CHANNELS_FIRST, TO_CHANNELS_LAST
from tests.kernels.attention_cases import make_case

PROGRAM = Path(__file__).with_name("plan_of_one_plugin.py")
SHAPE = (1, 16, 4, 6, 5)  # n c d h w
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
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


def one_plugin(path, dtype, *, int8=False, batch=1, depth=SHAPE[2], weights=None):
    """x, residual (n, c, d, h, w) → Transpose → the plugin → Transpose → out; no function body."""
    onnx_type = TYPES[dtype]
    case = make_case((1, depth, 6, 5, SHAPE[1]), weights=weights or dtype)
    parameters = {str(number): array for number, array in enumerate((*case.channel, *case.depth))}
    steps = [make_tensor(f"{name}_step", onnx_type, (), [step]) for name, step in SCALES.items()]
    nodes, inputs = [], []
    for name in ("x", "residual"):
        nodes.append(make_node("Transpose", [f"{name}_ncdhw"], [name], perm=TO_CHANNELS_LAST))
        inputs.append(f"{name}_int8" if int8 else name)
        if int8:
            nodes.append(make_node("QuantizeLinear", [name, f"{name}_step", "zero"], inputs[-1:]))
    attributes = {f"{name}_scale": scale for name, scale in SCALES.items()} if int8 else {}
    nodes.append(
        make_node(NAMES["both"], [*inputs, *parameters], ["y"], domain=DOMAIN, **attributes)
    )
    if int8:
        nodes.append(make_node("DequantizeLinear", ["y", "y_step", "zero"], ["y_float"]))
    result = "y_float" if int8 else "y"
    nodes.append(make_node("Transpose", [result], ["out"], perm=TO_CHANNELS_FIRST))
    shape = (batch, *SHAPE[1:])
    graph = make_graph(
        nodes,
        "one-plugin",
        [make_tensor_value_info(f"{n}_ncdhw", onnx_type, shape) for n in ("x", "residual")],
        [make_tensor_value_info("out", onnx_type, shape)],
        [
            *(onnx.numpy_helper.from_array(array, name) for name, array in parameters.items()),
            *([*steps, make_tensor("zero", TensorProto.INT8, (), [0])] if int8 else ()),
        ],
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


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(
    ("dtype", "name"), [("float32", "FLOAT"), ("float16", "HALF"), ("bfloat16", "BF16")]
)
def test_a_plan_in_each_type(on_cpu, rtx_libraries, tmp_path, dtype, name, int8):
    model = one_plugin(tmp_path / "m.onnx", dtype, int8=int8)
    result, plan, _ = build(on_cpu.path, rtx_libraries, model)
    (plugin,) = result["plugins"]
    of_maps = "DataType.INT8" if int8 else f"DataType.{name}"
    assert plugin["inputs"] == [of_maps] * 2 + [f"DataType.{name}"] * 8
    assert plugin["output"] == [of_maps, 1, 4, 6, 5, 16]
    assert b"FusedDualAttention" in plan
    assert {f"{tensor}_scale".encode() in plan for tensor in SCALES} == {int8}


def test_a_range_of_batches(on_cpu, rtx_libraries, tmp_path):
    model = one_plugin(tmp_path / "m.onnx", "float16", batch="n")
    result, plan, _ = build(on_cpu.path, rtx_libraries, model)
    assert result["plugins"][0]["output"] == ["DataType.HALF", -1, 4, 6, 5, 16]
    assert b"FusedDualAttention" in plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"depth": 3},
            "darnet-trt plugin: FusedDualAttention: depth squeeze.weight must be (3, 64) for x of "
            "depth 4 with 16 channels and 3 hidden units; it is (3, 48)",
        ),
        ({"weights": "float32"}, "x must be float32, as the gate parameters are"),
    ],
)
def test_parameters_that_do_not_fit_are_named(on_cpu, rtx_libraries, tmp_path, change, message):
    model = one_plugin(tmp_path / "m.onnx", "float16", **change)
    result, plan, said = build(on_cpu.path, rtx_libraries, model)
    assert result["error"]
    assert plan == b""
    assert message in said
