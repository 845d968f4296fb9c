"""Measure the int8 network with its input packed for the stem and not, in turns. docs/precision.md.

    python -m benchmarks.quantization.packed_stem RUN [--rounds 8]

RUN is a training run, such as that of `benchmarks.cpu.network.full_size`. The ranges of the
activations are made up: they change no time. The answers must be the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from onnx import ModelProto

from benchmarks.bench.targets import Agreement, compared
from darnet_trt.calibration import packed_stem
from darnet_trt.calibration.qdq import Range, convolutions, quantize, quantized_tensors
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.export.onnx.writing import write_graph
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.engines.runner import Runner
from darnet_trt.training.checkpoint import load_checkpoint
from darnet_trt.training.model import DARNet


def graphs(run: Path) -> dict[str, ModelProto]:
    """Return the network of a run in int8, "plain" and "packed"."""
    checkpoint = load_checkpoint(run)
    model = DARNet(checkpoint.network)
    model.load_state_dict(checkpoint.state_dict)
    graph = build_graph(checkpoint.network, folded(model.eval()), "fp32", {})
    layers = convolutions(graph)
    signed = (".bn2.out", ".shortcut.1.out")  # what follows no ReLU
    ranges = {name: Range(4.0, name.endswith(signed)) for name in quantized_tensors(graph, layers)}
    packed = quantize(graph, ranges, layers, "u8")
    with patch.object(packed_stem, "can_pack", lambda shape: False):
        plain = quantize(graph, ranges, layers, "u8")
    return {"plain": inlined(plain), "packed": inlined(packed)}


def openvino(graph: ModelProto, folder: Path) -> Runner:
    """Build and load an engine."""
    return OpenVINORunner(build_openvino(graph, folder)[0], precision="int8")


def onnxruntime(graph: ModelProto, folder: Path) -> Runner:
    """Write and load a graph."""
    folder.mkdir()
    file = folder / "model.onnx"
    write_graph(graph, file)
    return OnnxRuntimeRunner(file, device="cpu")


def rows(run: Path, rounds: int) -> Iterator[Agreement]:
    """Yield a row for each backend.

    Raises:
        AssertionError: The packed network answers something else.
    """
    made = graphs(run)
    shape = [one.dim_value for one in made["plain"].graph.input[0].type.tensor_type.shape.dim]
    volume = np.random.default_rng(0).random((1, *shape[1:]), np.float32)
    loads: tuple[Callable[[ModelProto, Path], Runner], ...] = (openvino, onnxruntime)
    for load in loads:
        with TemporaryDirectory() as work, ExitStack() as opened:
            runners = {name: load(graph, Path(work) / name) for name, graph in made.items()}
            for runner in runners.values():
                opened.callback(runner.close)
            plain, packed = (runner.infer(volume) for runner in runners.values())
            np.testing.assert_array_equal(packed.logits, plain.logits)
            np.testing.assert_array_equal(packed.cam, plain.cam)
            traces: dict[str, Trace] = {}
            in_turns(
                [Subject(name, lambda r=r: r.infer(volume)) for name, r in runners.items()],  # type: ignore[misc]
                traces,
                rounds=rounds,
            )
        found = (traces[name].turn_medians_ms().tolist() for name in made)
        yield Agreement(f"{load.__name__} int8, ms", *found)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    compared("plain", rows(given.run, given.rounds), "packed")


if __name__ == "__main__":
    main()
