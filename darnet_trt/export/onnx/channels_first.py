"""Give the attention its tensors as N,C,D,H,W, as TensorRT's own 3D convolutions hold them.

TensorRT-RTX plans convolutions on N,D,H,W,C and cancels the transposes around the attention.
TensorRT keeps N,C,D,H,W and says with a format (DHWC, DHWC8) that the memory is channels-last; a
transpose would be a layer of its own there. The plugin takes both; only it does, so the graph loses
the function that other engines would run.
"""

from __future__ import annotations

from typing import Final

from onnx import ModelProto
from onnx.helper import make_attribute

from darnet_trt.kernels.onnx_function import DOMAIN

PADS_TO: Final = 8
"""The format DHWC8 of float16 and bfloat16 pads channels to it; the plugin takes no padding."""


def channels_first(model: ModelProto) -> ModelProto:
    """Return a copy in which the plugin reads and writes N,C,D,H,W.

    Args:
        model: From `build_graph`, not quantized.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    nodes = copied.graph.node
    transposes = [node for node in nodes if node.op_type == "Transpose"]
    before = {node.output[0]: node.input[0] for node in transposes}
    after = {node.input[0]: node.output[0] for node in transposes}
    for node in nodes:
        if node.domain == DOMAIN:
            node.input[:] = [before.get(name, name) for name in node.input]
            node.output[0] = after[node.output[0]]
            node.attribute.append(make_attribute("channel_axis", 1))
    for node in transposes:
        nodes.remove(node)
    del copied.functions[:]
    return copied
