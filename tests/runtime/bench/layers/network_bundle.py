"""A bundle with the real network at a small size, in every precision of the CPU's backends."""

from pathlib import Path

import onnx

from darnet_trt.bundle.manifest import Artifact, Manifest, ModelCard
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.bundle.writing import write_manifest
from darnet_trt.calibration.qdq import Range, convolutions, quantize, quantized_tensors
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.kernels.onnx_inline import inlined
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.model import DARNet, Network
from tests.tiny_bundle import PASSED

NETWORK = Network(width=4, input_size=(16, 32, 32))


def float_graph(network: Network) -> onnx.ModelProto:
    """The graph with random weights."""
    metadata = {"network": network.model_dump_json(), "precision": "fp32"}
    return build_graph(network, folded(DARNet(network).eval()), "fp32", metadata)


def write_network_bundle(folder: Path, network: Network = NETWORK) -> Path:
    graph = float_graph(network)
    layers = convolutions(graph)
    ranges = {
        tensor: Range(4.0, not tensor.endswith("relu"))
        for tensor in quantized_tensors(graph, layers)
    }
    models = {
        "float": inlined(graph),
        "int8": inlined(quantize(graph, ranges, layers, "u8")),
    }
    folder.mkdir(parents=True)
    artifacts = []
    for kind, model in models.items():
        file = folder / f"{kind}.onnx"
        onnx.save(model, file)
        pair = build_openvino(model, folder / kind)
        precisions = ("fp32", "bf16") if kind == "float" else ("int8",)
        artifacts += [_artifact(folder, "openvino", precision, pair) for precision in precisions]
        artifacts.append(_artifact(folder, "onnxruntime", precisions[0], (file,)))
    manifest = Manifest(
        toolkit="0.1.0",
        created="2025-01-01T00:00:00Z",
        intended_use="Research use only. Not a medical device.",
        model=ModelCard(
            attention=network.attention,
            width=network.width,
            parameters=0,
            checkpoint_sha256="0" * 64,
            trained_on="nothing: random weights",
            features=8 * network.width,
        ),
        classes=network.classes,
        preprocessing=Preprocessing(size=network.input_size),
        artifacts=tuple(artifacts),
        default="openvino-fp32",
        built_on={},
    )
    write_manifest(folder, manifest)
    return folder


def _artifact(folder: Path, backend: str, precision: str, files: tuple[Path, ...]) -> Artifact:
    return Artifact(
        name=f"{backend}-{precision}",
        files={file.relative_to(folder).as_posix(): sha256_of(file) for file in files},
        backend=backend,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        effective_precision=precision,  # type: ignore[arg-type]
        target="cpu",
        batch=(1, 1),
        producer={},
        executed=True,
        parity=PASSED,
        latency_ms=1.0,
    )
