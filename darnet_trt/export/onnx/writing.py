"""Write a checkpoint as an ONNX graph, with all that is needed to use it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from onnx import ModelProto

from darnet_trt import __version__
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import BuildError
from darnet_trt.export.onnx.graph import GraphPrecision, build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.prediction.results.result import INTENDED_USE
from darnet_trt.training.checkpoint import Checkpoint, checkpoint_file, load_checkpoint
from darnet_trt.training.model import DARNet


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint with its network and its float32 graph, each made once, when first used.

    Attributes:
        checkpoint: What to export.
        sha256: Of the checkpoint's file, hexadecimal.
    """

    checkpoint: Checkpoint
    sha256: str

    @cached_property
    def network(self) -> DARNet:
        """Return the trained network, in evaluation mode."""
        return self.checkpoint.model()

    @cached_property
    def float32(self) -> ModelProto:
        """Return the float32 graph, whose attentions are calls of a function; do not change it.

        Raises:
            BuildError: As `graph`.
        """
        return self.graph("fp32")

    @cached_property
    def standard(self) -> ModelProto:
        """Return the float32 graph in standard operators only; do not change it.

        Raises:
            BuildError: As `graph`.
        """
        return _checked(inlined(self.float32))

    def graph(self, precision: GraphPrecision, in_float32: Collection[str] = ()) -> ModelProto:
        """Make a graph: opset 18, dynamic batch, the same bytes for the same checkpoint.

        Its properties hold the network, preprocessing and classes as JSON, what the weights were
        trained on, the checkpoint's SHA-256 and the toolkit's version.

        Args:
            precision: See `graph.build_graph`; fp16 is for TensorRT's strongly typed networks.
            in_float32: Parts of an fp16 graph that stay in float32.

        Raises:
            BuildError: A weight is NaN or infinite, or does not fit float16.
        """
        shape = self.checkpoint.network
        properties = {
            "checkpoint_sha256": self.sha256,
            "classes": json.dumps(shape.classes),
            "intended_use": INTENDED_USE,
            "network": shape.model_dump_json(),
            "precision": precision,
            "preprocessing": self.checkpoint.preprocessing.model_dump_json(),
            "toolkit": f"darnet-trt {__version__}",
            "trained_on": self.checkpoint.training,
        }
        return _checked(build_graph(shape, folded(self.network), precision, properties, in_float32))


def load_source(run: Path) -> Source:
    """Read a run's folder or its checkpoint file.

    Raises:
        CheckpointError: It cannot be used.
    """
    return Source(load_checkpoint(run), sha256_of(checkpoint_file(run)))


def export_onnx(
    source: Source, path: Path, precision: GraphPrecision = "fp32", *, inline: bool = False
) -> None:
    """Write a graph of the network as one ONNX file, whole or not at all.

    Args:
        source: From `load_source`.
        path: Where to; an existing file is replaced.
        precision: See `Source.graph`.
        inline: Write standard operators only, for readers that know no local functions.

    Raises:
        BuildError: As `Source.graph`.
        OutputError: It cannot be written.
    """
    graph = source.float32 if precision == "fp32" else source.graph(precision)
    write_graph(_checked(inlined(graph)) if inline else graph, path)


def _checked(graph: ModelProto) -> ModelProto:
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildError(f"the exported graph is not valid ONNX ({error})") from error
    return graph


def write_graph(graph: ModelProto, path: Path) -> None:
    """Write a graph, the same bytes each time.

    Raises:
        OutputError: It cannot be written.
    """
    content = graph.SerializeToString(deterministic=True)
    with whole_file(path) as file:
        file.write(content)
