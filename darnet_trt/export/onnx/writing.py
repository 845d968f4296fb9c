"""Checkpoint → one ONNX file for every backend, with all that is needed to use it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx

from darnet_trt import __version__
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import BuildError
from darnet_trt.export.onnx.graph import GraphPrecision, build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.prediction.results import INTENDED_USE
from darnet_trt.training.checkpoint import Checkpoint, checkpoint_file, load_checkpoint

__all__ = ["Source", "export_onnx", "load_source"]


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint and the hash of its file.

    Attributes:
        checkpoint: What to export.
        sha256: Of the checkpoint's file, hexadecimal.
    """

    checkpoint: Checkpoint
    sha256: str


def load_source(run: Path) -> Source:
    """Read a run's folder or its checkpoint file.

    Raises:
        CheckpointError: It cannot be used.
    """
    return Source(load_checkpoint(run), sha256_of(checkpoint_file(run)))


def export_onnx(
    source: Source,
    path: Path,
    precision: GraphPrecision = "fp32",
    in_float32: Collection[str] = (),
) -> None:
    """Write one ONNX file: opset 18, dynamic batch, the same bytes for the same checkpoint.

    Its properties hold the network, preprocessing and classes as JSON, what the weights were
    trained on, the checkpoint's SHA-256 and the toolkit's version.

    Args:
        source: From `load_source`.
        path: Where to; an existing file is replaced, whole or not at all.
        precision: See `graph.build_graph`; fp16 is for TensorRT's strongly typed networks.
        in_float32: Parts of an fp16 graph that stay in float32.

    Raises:
        BuildError: A weight is NaN or infinite, or does not fit float16.
        OutputError: It cannot be written.
    """
    checkpoint = source.checkpoint
    model = build_graph(
        checkpoint.network,
        folded(checkpoint.model()),
        precision,
        {
            "checkpoint_sha256": source.sha256,
            "classes": json.dumps(checkpoint.network.classes),
            "intended_use": INTENDED_USE,
            "network": checkpoint.network.model_dump_json(),
            "precision": precision,
            "preprocessing": checkpoint.preprocessing.model_dump_json(),
            "toolkit": f"darnet-trt {__version__}",
            "trained_on": checkpoint.trained_on,
        },
        in_float32,
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildError(f"the exported graph is not valid ONNX ({error})") from error
    with whole_file(path) as file:
        file.write(model.SerializeToString(deterministic=True))
