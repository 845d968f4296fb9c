"""Make the channels between two convolutions alike, so that one scale suits all of them.

Between conv1 → ReLU → conv2 a channel can be divided by a positive number if conv2's weights for it
are multiplied by the same: the network computes what it did (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1). With the numbers chosen
there, a channel has the same largest weight in both. Here they are rounded to powers of two, so
that float arithmetic is exact, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto
from onnx.numpy_helper import from_array, to_array

Divisors = Mapping[str, npt.NDArray[np.float32]]
"""By name of the first convolution, a power of two for each of its output channels."""

# Activations of a channel that is divided by more would be subnormal numbers in float16.
_LARGEST_EXPONENT: Final = 12


def divisors(model: ModelProto) -> Divisors:
    """Return what to divide the channels of a float32 graph by.

    All are at least 1: no activation grows, so none that fitted float16 overflows. A channel
    without weights in one of the convolutions is divided by 1.
    """
    weights = {t.name: t for t in model.graph.initializer}
    found = {}
    for first, second in _pairs(list(model.graph.node)):
        given = np.abs(to_array(weights[first.input[1]]).astype(np.float64)).max((1, 2, 3, 4))
        taken = np.abs(to_array(weights[second.input[1]]).astype(np.float64)).max((0, 2, 3, 4))
        exponents = np.zeros(len(given))
        used = (given > 0) & (taken > 0)
        if used.any():
            best = np.rint(np.log2(given[used] / taken[used]) / 2)
            exponents[used] = np.minimum(best - best.min(), _LARGEST_EXPONENT)
        found[first.name] = np.exp2(exponents).astype(np.float32)
    return found


def equalized(model: ModelProto, by: Divisors) -> ModelProto:
    """Return a copy of the graph, float32 or float16, with its channels divided.

    Args:
        model: The graph.
        by: `divisors` of the float32 graph.
    """
    result = ModelProto()
    result.CopyFrom(model)
    tensors = {t.name: t for t in result.graph.initializer}
    for first, second in _pairs(list(result.graph.node)):
        divided = by[first.name].reshape(-1, 1, 1, 1)
        for name, factors in (
            (first.input[1], 1 / divided[..., None]),
            (first.input[2], 1 / by[first.name]),
            (second.input[1], divided),
        ):
            value = to_array(tensors[name])
            tensors[name].CopyFrom(from_array((value * factors).astype(value.dtype), name))
    return result


def _pairs(nodes: list[NodeProto]) -> list[tuple[NodeProto, NodeProto]]:
    """Return each convolution whose ReLU only another convolution reads, with that other."""
    producer = {output: node for node in nodes for output in node.output}
    readers = Counter(name for node in nodes for name in node.input)
    found = []
    for second in nodes:
        relu = producer.get(second.input[0]) if second.op_type == "Conv" else None
        if relu is not None and relu.op_type == "Relu" and readers[relu.output[0]] == 1:
            first = producer[relu.input[0]]
            if first.op_type == "Conv":
                found.append((first, second))
    return found
