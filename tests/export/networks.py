"""Small networks that look trained: random weights, biases and batch norm statistics."""

from collections.abc import Callable, Collection

import numpy as np
import torch
from onnx import ModelProto
from onnx.numpy_helper import from_array, to_array
from torch import nn

from darnet_trt.export.onnx.graph import GraphPrecision, build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.checkpoint import Checkpoint
from darnet_trt.training.model import DARNet, Network

TINY = Network(width=4, input_size=(16, 32, 32))


def trained_like(network: Network, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    model = DARNet(network)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
            module.num_batches_tracked += 100
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.bias, 0, 0.5)
    with torch.no_grad():
        model.classifier.weight *= 4
    return Checkpoint(
        network=network,
        preprocessing=Preprocessing(size=network.input_size),
        trained_on="nothing: random weights for a test",
        validation={"accuracy": 0.25},
        state_dict=model.state_dict(),
    )


def graph_of(
    checkpoint: Checkpoint, precision: GraphPrecision = "fp32", in_float32: Collection[str] = ()
) -> ModelProto:
    metadata = {"precision": precision}
    return build_graph(
        checkpoint.network, folded(checkpoint.model()), precision, metadata, in_float32
    )


def with_weight(
    model: ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> ModelProto:
    """Return a copy of the graph with one weight changed."""
    copied = ModelProto()
    copied.CopyFrom(model)
    (tensor,) = [t for t in copied.graph.initializer if t.name == name]
    tensor.CopyFrom(from_array(change(to_array(tensor).copy()), name))
    return copied
