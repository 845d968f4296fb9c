"""The fused dual attention as model-local ONNX functions of the domain `darnet`.

ONNX Runtime and TensorRT read a file with such functions: they run the body of standard operators,
and a TensorRT with a plugin of the same name and domain runs the plugin instead. For other readers,
OpenVINO among them, `onnx_inline.py` puts the bodies into the graph.

Inputs and outputs are N,D,H,W,C, the layout that TensorRT's convolutions write, so that a plugin
needs no transpose. A graph in N,C,D,H,W puts `TO_CHANNELS_LAST` before a call and
`TO_CHANNELS_FIRST` after it. The bodies transpose back, and ONNX Runtime, OpenVINO and TensorRT-RTX
cancel all these transposes.

The bodies read F once for the pooling and once for the scaling (see `reference.py`). All inputs
have one type: float32, float16 or bfloat16. The means are always computed in float32, because a
float16 sum over 112×112 voxels overflows if the mean is above 5.2. The gates' matrix products stay
in the inputs' type, because TensorRT-RTX has no float32 ones on SM75, and float32 would gain little
(docs/precision.md). In a float32 graph the casts do nothing.
"""

from __future__ import annotations

from typing import Final, Literal

from onnx import FunctionProto, NodeProto, TensorProto
from onnx.helper import make_function, make_node, make_opsetid

from darnet_trt.kernels.check import NAMESPACE, PLUGINS, VERSION

DOMAIN: Final = NAMESPACE
OPSET: Final = 18
"""The first opset with axes as an input of ReduceMean. JetPack's TensorRT 10, TensorRT-RTX 1.7,
ONNX Runtime and OpenVINO all support it."""

NAMES: Final = dict(zip(("channel", "depth", "both"), PLUGINS, strict=True))
PLUGIN: Final = {"plugin_namespace": DOMAIN, "plugin_version": VERSION}
"""Attributes by which TensorRT's parser finds the plugin; the bodies ignore them."""
GATE_PARAMETERS: Final = ("squeeze.weight", "squeeze.bias", "excite.weight", "excite.bias")
"""A gate's inputs in order, named as in the network's state dict; channel before depth."""
TO_CHANNELS_LAST: Final = (0, 2, 3, 4, 1)
"""Axes of a Transpose N,C,D,H,W → N,D,H,W,C."""
TO_CHANNELS_FIRST: Final = (0, 4, 1, 2, 3)
"""Axes of a Transpose N,D,H,W,C → N,C,D,H,W."""


def _gate(kind: str, z: str) -> list[NodeProto]:
    """Return the nodes of Linear, ReLU, Linear, sigmoid: (n, features) → `{kind}_gate`."""
    squeeze, excite = f"{kind}_squeeze", f"{kind}_excite"
    return [
        make_node(
            "Gemm", [z, f"{squeeze}_weight", f"{squeeze}_bias"], [f"{kind}_hidden"], transB=1
        ),
        make_node("Relu", [f"{kind}_hidden"], [f"{kind}_active"]),
        make_node(
            "Gemm",
            [f"{kind}_active", f"{excite}_weight", f"{excite}_bias"],
            [f"{kind}_logits"],
            transB=1,
        ),
        make_node("Sigmoid", [f"{kind}_logits"], [f"{kind}_gate"]),
    ]


def _transpose(x: str, y: str, order: tuple[int, ...]) -> NodeProto:
    return make_node("Transpose", [x], [y], perm=order)


def _axes(name: str, *axes: int) -> NodeProto:
    return make_node("Constant", [], [name], value_ints=list(axes))


def attention_function(
    attention: Literal["channel", "depth", "both"], opset: int = OPSET
) -> FunctionProto:
    """Return the function for one variant of the attention, in the opset of its model.

    Its inputs are x and residual, (n, d, h, w, c), then `GATE_PARAMETERS` for each gate, all
    of one type: float32, float16 or bfloat16. Its output y has the type and shape of x.
    """
    kinds = ("channel", "depth") if attention == "both" else (attention,)
    nodes = [
        _axes("axis_d", 2),
        _axes("axes_hw", 3, 4),
        _axes("axes_hw_ndhwc", 2, 3),
        _transpose("x", "x_ncdhw", TO_CHANNELS_FIRST),
        _transpose("residual", "residual_ncdhw", TO_CHANNELS_FIRST),
        make_node("Cast", ["x_ncdhw"], ["x_fp32"], to=TensorProto.FLOAT),
        # Pool in channels-last: over N,C,D,H,W TensorRT-RTX 1.7 first writes a copy of a float32 F
        # in that order. If it pools x itself, it writes a copy of a float16 F.
        _transpose("x_fp32", "x_fp32_ndhwc", TO_CHANNELS_LAST),
        make_node("ReduceMean", ["x_fp32_ndhwc", "axes_hw_ndhwc"], ["z_ndc"], keepdims=0),
        _transpose("z_ndc", "z_fp32", (0, 2, 1)),
        make_node("CastLike", ["z_fp32", "x"], ["z"]),
    ]
    gates, gated = "", "z"  # names of: gates, (n c 1) or (n c d); z times the gates so far
    if "channel" in kinds:
        nodes += [
            make_node("ReduceMean", ["z_fp32", "axis_d"], ["z_channel_fp32"], keepdims=0),
            make_node("CastLike", ["z_channel_fp32", "x"], ["z_channel"]),
            *_gate("channel", "z_channel"),
            make_node("Unsqueeze", ["channel_gate", "axis_d"], ["channel_gates"]),
        ]
        gates = "channel_gates"
    if "depth" in kinds:
        if gates:
            nodes.append(make_node("Mul", ["z", gates], ["z_gated"]))
            gated = "z_gated"
        nodes += [
            make_node("Flatten", [gated], ["z_depth"], axis=1),
            *_gate("depth", "z_depth"),
            make_node("Shape", ["z"], ["shape_ncd"]),
            make_node("Reshape", ["depth_gate", "shape_ncd"], ["depth_gates"]),
        ]
        if gates:
            nodes.append(make_node("Mul", [gates, "depth_gates"], ["both_gates"]))
        gates = "both_gates" if gates else "depth_gates"
    nodes += [
        make_node("Unsqueeze", [gates, "axes_hw"], ["gates_ncdhw"]),
        make_node("Mul", ["x_ncdhw", "gates_ncdhw"], ["x_gated"]),
        make_node("Add", ["x_gated", "residual_ncdhw"], ["sum"]),
        make_node("Relu", ["sum"], ["y_ncdhw"]),
        _transpose("y_ncdhw", "y", TO_CHANNELS_LAST),
    ]
    return make_function(
        DOMAIN,
        NAMES[attention],
        ["x", "residual"]
        + [f"{kind}_{p.replace('.', '_')}" for kind in kinds for p in GATE_PARAMETERS],
        ["y"],
        nodes,
        [make_opsetid("", opset)],
        attributes=list(PLUGIN),
    )
