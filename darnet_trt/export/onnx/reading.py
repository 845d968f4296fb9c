"""The float32 ONNX graph of a run, a bundle or a file, with the preprocessing that it asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto
from onnx.numpy_helper import to_array

from darnet_trt.bundle.manifest import FILE_NAME, MODEL_FILE
from darnet_trt.bundle.reading import open_bundle, verified_file
from darnet_trt.errors import BundleError, no_such_path
from darnet_trt.evaluation.seen import TrainingScans
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.writing import load_source
from darnet_trt.runtime.training_scans import training_scans_of
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.model import Network


def float_graph(path: Path) -> tuple[ModelProto, Preprocessing, TrainingScans | None]:
    """Return the graph, the preprocessing, and which scans trained the weights.

    Each attention of the graph is a call of a function. The training scans are None where they are
    not known: a file does not say it, nor do older checkpoints and bundles.

    Args:
        path: A run or its checkpoint, a bundle, or an `.onnx` file that `export_onnx` wrote. From
            the weights of a file the graph is made anew, so the file may be inlined.

    Raises:
        UsageError: There is no such path.
        CheckpointError: The run cannot be used.
        BundleError: The bundle cannot be used, or the file is not a float32 one of `export_onnx`.
    """
    if not path.exists():
        raise no_such_path(path)
    if (path / FILE_NAME).exists():
        bundle = open_bundle(path)
        return *_read(verified_file(bundle, MODEL_FILE)), training_scans_of(bundle)
    if path.suffix == ".onnx":
        return *_read(path), None
    source = load_source(path)
    checkpoint = source.checkpoint
    return source.float32, checkpoint.preprocessing, checkpoint.training_scans


def classes_of(graph: ModelProto) -> tuple[str, ...]:
    """Return the names of the logits of a graph that `build_graph` made."""
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    return tuple(json.loads(properties["classes"]))


def _read(file: Path) -> tuple[ModelProto, Preprocessing]:
    try:
        model = onnx.load(file)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        precision = properties["precision"]
        spec = Preprocessing.model_validate(json.loads(properties["preprocessing"]))
        if precision == "fp32":
            return _graph(model, properties), spec
    except (OSError, DecodeError, KeyError, ValueError, RecursionError) as error:
        raise BundleError(
            f"not a file that darnet-trt export wrote ({type(error).__name__})",
            where=file,
            do="export the network again with: darnet-trt export RUN",
        ) from error
    is_so = "is quantized already" if precision == "int8" else f"is {precision}"
    raise BundleError(
        f"the ONNX graph {is_so}",
        where=file,
        do="give the float32 one: the run, its bundle, or export --precision fp32",
    )


def _graph(model: ModelProto, properties: Mapping[str, str]) -> ModelProto:
    """Make the graph of a file's weights, which have the names of the state dict."""
    network = Network.model_validate_json(properties["network"])
    weights = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    head = weights["classifier.weight"]
    weights["classifier.weight"] = head.reshape(head.shape[:2])
    return build_graph(network, weights, "fp32", properties)
