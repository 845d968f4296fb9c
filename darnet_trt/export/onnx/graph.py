"""Write the network as an ONNX graph, node by node, to control names, types and function calls.

Convolutions carry their folded batch norm; each block ends in one call of the fused attention,
with transposes around it that `kernels/onnx_function.py` explains; the head is a 1×1×1
convolution whose output is the class activation map and whose mean, plus the bias, is the logits;
the mean of what it reads is the pooled features.
Initializers have the names of the state dict, nodes the names of the modules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    tensor_dtype_to_np_dtype,
)
from onnx.numpy_helper import from_array

from darnet_trt.errors import BuildError
from darnet_trt.kernels.onnx_function import (
    DOMAIN,
    GATE_PARAMETERS,
    NAMES,
    OPSET,
    PLUGIN,
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    attention_function,
)
from darnet_trt.training.model import Network, halved

INPUT: Final = "input"
IR_VERSION: Final = 8  # the one of OPSET 18, and the first with model-local functions

_OPSET_BF16: Final = 22  # the first with a convolution in bfloat16
_IR_VERSION_BF16: Final = 10  # the one of that opset

GraphPrecision = Literal["fp32", "bf16", "fp16"]
_TYPES: Final[dict[GraphPrecision, tuple[int, type]]] = {
    "fp32": (TensorProto.FLOAT, np.float32),
    "bf16": (TensorProto.BFLOAT16, tensor_dtype_to_np_dtype(TensorProto.BFLOAT16).type),
    "fp16": (TensorProto.FLOAT16, np.float16),
}


def part_of(name: str) -> str:
    """Return the part of a node, tensor or weight: "stem", a block ("stages.1.0") or "head"."""
    place = name.split(".")
    if place[0] == "stages":
        return ".".join(place[:3])
    return "stem" if place[0] in ("stem", INPUT) else "head"


def _transpose(x: str, y: str, order: tuple[int, ...]) -> NodeProto:
    return make_node("Transpose", [x], [y], name=y, perm=list(order))


class _Graph:
    """The nodes and initializers written so far."""

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, npt.NDArray[np.float32]],
        precision: GraphPrecision,
        in_float32: Collection[str],
    ) -> None:
        self.network = network
        self.weights = weights
        self.precision, self.in_float32 = precision, in_float32
        self.body: type = np.float32
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def begin(self, part: str, x: str) -> str:
        """Start a part: cast x to the part's type, which the next nodes have too."""
        precision: GraphPrecision = "fp32" if part in self.in_float32 else self.precision
        onnx_type, body = _TYPES[precision]
        if body is self.body:
            return x
        self.body = body
        cast = f"{x}_{precision}"
        self.nodes.append(make_node("Cast", [x], [cast], name=f"{x}.{precision}", to=onnx_type))
        return cast

    def weight(self, name: str, dtype: type, shape: tuple[int, ...] | None = None) -> str:
        value = self.weights[name]
        if not np.isfinite(value).all():
            raise BuildError(
                f"the weight {name} holds NaN or infinite values",
                do="the weights are damaged; train again",
            )
        with np.errstate(over="ignore"):
            cast: npt.NDArray[np.floating] = value.astype(dtype)
        if not np.isfinite(cast).all():
            raise BuildError(
                f"the weight {name} does not fit {np.dtype(dtype)} "
                f"(largest magnitude {np.abs(value).max():.3g})",
                do="train again with weight decay, or build with --precision fp32",
            )
        self.initializers.append(from_array(cast.reshape(shape or cast.shape), name))
        return name

    def convolution(
        self, x: str, name: str, norm: str, stride: tuple[int, int, int], *, relu: bool
    ) -> str:
        """Add a convolution with "same" padding and its folded batch norm."""
        kernel = self.weights[f"{name}.weight"].shape[2:]
        padding = [size // 2 for size in kernel]
        out = f"{norm}.out"
        self.nodes.append(
            make_node(
                "Conv",
                [
                    x,
                    self.weight(f"{name}.weight", self.body),
                    self.weight(f"{norm}.bias", self.body),
                ],
                [out],
                name=name,
                kernel_shape=list(kernel),
                strides=list(stride),
                pads=padding * 2,
            )
        )
        if not relu:
            return out
        self.nodes.append(make_node("Relu", [out], [f"{norm}.relu"], name=f"{norm}.relu"))
        return f"{norm}.relu"

    def block(self, x: str, name: str, stride: int) -> str:
        """Add a block: convolution, ReLU, convolution, then attention and shortcut."""
        x = self.begin(name, x)
        strides = (stride,) * 3
        y = self.convolution(x, f"{name}.conv1", f"{name}.bn1", strides, relu=True)
        y = self.convolution(y, f"{name}.conv2", f"{name}.bn2", (1, 1, 1), relu=False)
        if f"{name}.shortcut.0.weight" in self.weights:
            x = self.convolution(x, f"{name}.shortcut.0", f"{name}.shortcut.1", strides, relu=False)
        out = f"{name}.out"
        attention = self.network.attention
        if attention == "none":
            self.nodes += [
                make_node("Add", [y, x], [f"{name}.sum"], name=f"{name}.sum"),
                make_node("Relu", [f"{name}.sum"], [out], name=f"{name}.relu"),
            ]
            return out
        kinds = ("channel", "depth") if attention == "both" else (attention,)
        gates = [
            self.weight(f"{name}.{kind}_attention.{parameter}", self.body)
            for kind in kinds
            for parameter in GATE_PARAMETERS
        ]
        self.nodes += [
            _transpose(y, f"{name}.x_ndhwc", TO_CHANNELS_LAST),
            _transpose(x, f"{name}.residual_ndhwc", TO_CHANNELS_LAST),
            make_node(
                NAMES[attention],
                [f"{name}.x_ndhwc", f"{name}.residual_ndhwc", *gates],
                [f"{name}.out_ndhwc"],
                domain=DOMAIN,
                name=f"{name}.attention",
                **PLUGIN,
            ),
            _transpose(f"{name}.out_ndhwc", out, TO_CHANNELS_FIRST),
        ]
        return out

    def head(self, x: str) -> None:
        """Add the head: `cam`, `logits` and `features`; outputs and means are float32."""
        x = self.begin("head", x)
        classes, channels = self.weights["classifier.weight"].shape
        weight = self.weight("classifier.weight", self.body, (classes, channels, 1, 1, 1))
        narrow = self.body is not np.float32
        cam, wide = (f"cam_{self.precision}", "features.map") if narrow else ("cam", x)
        self.nodes.append(
            make_node("Conv", [x, weight], [cam], name="classifier", kernel_shape=[1, 1, 1])
        )
        if narrow:
            self.nodes += [
                make_node("Cast", [cam], ["cam"], name="cam.fp32", to=TensorProto.FLOAT),
                make_node("Cast", [x], [wide], name=wide, to=TensorProto.FLOAT),
            ]
        self.initializers.append(from_array(np.array([2, 3, 4], np.int64), "axes_dhw"))
        self.nodes += [
            make_node("ReduceMean", ["cam", "axes_dhw"], ["pooled"], name="pool", keepdims=0),
            make_node("ReduceMean", [wide, "axes_dhw"], ["features"], name="features", keepdims=0),
            make_node(
                "Add",
                ["pooled", self.weight("classifier.bias", np.float32)],
                ["logits"],
                name="logits",
            ),
        ]


def build_graph(
    network: Network,
    weights: Mapping[str, npt.NDArray[np.float32]],
    precision: GraphPrecision,
    metadata: Mapping[str, str],
    in_float32: Collection[str] = (),
) -> ModelProto:
    """Build the graph of the whole network.

    Args:
        network: Its shape.
        weights: From `weights.folded`.
        precision: fp16 and bf16 store weights and activations as float16 or bfloat16. Input,
            outputs, the attention's means and the final mean stay in float32, because their sums
            overflow float16 and lose digits in bfloat16.
        metadata: Written as the model's properties, sorted by key.
        in_float32: Parts, named as by `part_of`, that stay in float32.

    Returns:
        Input `input` (batch, 1, d, h, w); outputs `logits` (batch, classes), `cam`
        (batch, classes, d/8, h/16, w/16) and `features` (batch, 8·width); all float32.

    Raises:
        BuildError: A weight is NaN or infinite, or does not fit float16.
    """
    graph = _Graph(network, weights, precision, in_float32)
    x = graph.begin("stem", INPUT)
    x = graph.convolution(x, "stem.0", "stem.1", (1, 2, 2), relu=True)
    d, h, w = network.input_size
    h, w = halved(h), halved(w)
    for stage in range(4):
        stride = 1 if stage == 0 else 2
        if stride == 2:
            d, h, w = halved(d), halved(h), halved(w)
        x = graph.block(x, f"stages.{stage}.0", stride)
        x = graph.block(x, f"stages.{stage}.1", 1)
    graph.head(x)

    opset, ir_version = OPSET, IR_VERSION
    if precision == "bf16":
        opset, ir_version = _OPSET_BF16, _IR_VERSION_BF16
    classes = len(network.classes)
    float32 = TensorProto.FLOAT
    model = make_model(
        make_graph(
            graph.nodes,
            "darnet",
            [make_tensor_value_info(INPUT, float32, ["batch", 1, *network.input_size])],
            [
                make_tensor_value_info("logits", float32, ["batch", classes]),
                make_tensor_value_info("cam", float32, ["batch", classes, d, h, w]),
                make_tensor_value_info("features", float32, ["batch", 8 * network.width]),
            ],
            graph.initializers,
        ),
        functions=[]
        if network.attention == "none"
        else [attention_function(network.attention, opset)],
        opset_imports=[make_opsetid("", opset), make_opsetid(DOMAIN, 1)],
        ir_version=ir_version,
        producer_name="darnet-trt",
    )
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])
    return model
