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

from darnet_trt.kernels.onnx_function import DOMAIN, NAMES
from tests.kernels.attention_cases import DTYPES, make_case

PROGRAM = Path(__file__).with_name("plan_of_one_plugin.py")
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


def one_plugin(path, dtype, *, int8=False, batch=1, depth=4, weights=None):
    """x, residual (n, c, d, h, w) → Transpose → the plugin → Transpose → out; no function body."""
    case = make_case((1, depth, 6, 5, 16), weights=weights or dtype)
    parameters = {f"p{number}": a for number, a in enumerate((*case.channel, *case.depth))}
    maps = f"{dtype.removesuffix('32')}[{batch}, 16, 4, 6, 5]"
    attributes, maps_in, out, before, after = "", "x, residual", "y", "", ""
    if int8:
        attributes = f"<{', '.join(f'{name}_scale = {step}' for name, step in SCALES.items())}>"
        maps_in, out = "x_int8, residual_int8", "y_float"
        before = """
            x_int8 = QuantizeLinear(x, x_step, zero)
            residual_int8 = QuantizeLinear(residual, residual_step, zero)"""
        after = "y_float = DequantizeLinear(y, y_step, zero)"
    model = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["": 19, "{DOMAIN}": 1]>
        one_plugin ({maps} x_ncdhw, {maps} residual_ncdhw) => ({maps} out) {{
            x = Transpose <perm = [0, 2, 3, 4, 1]> (x_ncdhw)
            residual = Transpose <perm = [0, 2, 3, 4, 1]> (residual_ncdhw) {before}
            y = {DOMAIN}.{NAMES["both"]} {attributes} ({maps_in}, {", ".join(parameters)})
            {after}
            out = Transpose <perm = [0, 4, 1, 2, 3]> ({out})
        }}""")
    constants = {
        **parameters,
        **({f"{name}_step": np.array(SCALES[name], DTYPES[dtype]) for name in SCALES}),
        "zero": np.array(0, np.int8),
    }
    used = {name for node in model.graph.node for name in node.input}
    for name in used & constants.keys():
        model.graph.initializer.append(onnx.numpy_helper.from_array(constants[name], name))
    onnx.save(model, path)
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
    assert b"input_count" in plan
    assert {f"{tensor}_scale".encode() in plan for tensor in SCALES} == {int8}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_plan_with_the_channels_first(on_cpu, rtx_libraries, tmp_path, dtype):
    case = make_case((1, 4, 6, 5, 16), weights=dtype)
    parameters = {f"p{number}": a for number, a in enumerate((*case.channel, *case.depth))}
    maps = f"{dtype.removesuffix('32')}[1, 16, 4, 6, 5]"
    model = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["": 19, "{DOMAIN}": 1]>
        one_plugin ({maps} x, {maps} residual) => ({maps} y) {{
            y = {DOMAIN}.{NAMES["both"]} <channel_axis = 1> (x, residual, {", ".join(parameters)})
        }}""")
    for name, array in parameters.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "m.onnx")
    result, plan, _ = build(on_cpu.path, rtx_libraries, tmp_path / "m.onnx")
    assert result["plugins"][0]["output"][1:] == [1, 16, 4, 6, 5]
    assert b"channel_axis" in plan


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
