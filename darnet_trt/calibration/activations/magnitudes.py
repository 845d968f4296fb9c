"""The largest value that each layer of a network gives on scans: what float16 must hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto
from onnx.helper import make_empty_tensor_value_info, make_node
from onnx.inliner import inline_local_functions

from darnet_trt.calibration.activations.collect import open_session

__all__ = ["magnitudes"]


def magnitudes(
    model: ModelProto, volumes: Iterable[npt.NDArray[np.float32]], *, threads: int | None = None
) -> dict[str, float]:
    """Run scans through the float32 graph.

    What is not watched is never larger than something that is: ReLU's results, means, what a gate
    has scaled.

    Args:
        model: As `export.graph.build_graph` made it.
        volumes: Preprocessed scans, each (1, d, h, w).
        threads: CPU threads; None leaves the number to ONNX Runtime.

    Returns:
        Tensor, for a convolution or a block; layer, for one of a gate's → the largest magnitude of
        any element in any scan. Infinite or NaN where float32 does not hold it.
    """
    watched = inline_local_functions(model)
    graph = watched.graph
    names: dict[str, str] = {}
    nodes = list(graph.node)
    del graph.node[:], graph.output[:]
    for node in nodes:
        graph.node.append(node)
        if name := _watched_name(node):
            names[node.output[0]] = name
            for reduce in ("ReduceMin", "ReduceMax"):
                limit = f"{node.output[0]}.{reduce}"
                graph.node.append(make_node(reduce, [node.output[0]], [limit], keepdims=0))
                graph.output.append(make_empty_tensor_value_info(limit))
    session = open_session(watched, threads)
    largest = np.zeros(len(names), np.float32)
    for volume in volumes:
        limits = np.array(session.run(None, {graph.input[0].name: volume[None]}))
        largest = np.maximum(largest, np.abs(limits).reshape(-1, 2).max(1))
    return dict(zip(names.values(), map(float, largest), strict=True))


def _watched_name(node: NodeProto) -> str:
    """Empty for what need not be watched."""
    if node.op_type == "Gemm":  # inside the attention, where only its weight tells which it is
        return str(node.input[1]).removesuffix(".weight")
    tensor = str(node.output[0])
    return tensor if node.op_type == "Conv" or _BLOCK.fullmatch(tensor) else ""


_BLOCK: Final = re.compile(r"stages\.\d\.\d\.out")
