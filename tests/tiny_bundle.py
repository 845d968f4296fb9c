"""A bundle small enough to make in every test: one convolution, real files, real hashes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from darnet_trt.bundle.manifest import Artifact, Manifest, ModelCard, Parity, content_digest
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.bundle.writing import write_manifest
from darnet_trt.evaluation.familiarity import Familiarity
from darnet_trt.evaluation.texture import TEXTURES
from darnet_trt.scan.preprocessing import Preprocessing

SIZE = (16, 32, 32)
PAPER_CLASSES = ("covid-19", "common-pneumonia", "normal")


FEATURES = 32


def write_onnx(
    path: Path,
    *,
    bias: float = 0.5,
    size: tuple[int, int, int] = SIZE,
    features: int = FEATURES,
    classes: int = 3,
) -> None:
    """cam = one strided convolution, logits = its mean + bias: the real outputs' shapes.

    With 0 features it is a model of an older version, of two outputs.
    """
    d, h, w = size
    weight = np.random.default_rng(0).normal(0, 0.05, (classes, 1, 8, 16, 16)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["volume", "w"], ["cam"], strides=[8, 16, 16]),
            helper.make_node("ReduceMean", ["cam", "axes"], ["mean"], keepdims=0),
            helper.make_node("Add", ["mean", "b"], ["logits"]),
            *[helper.make_node("MatMul", ["mean", "spread"], ["features"])][: bool(features)],
        ],
        "tiny",
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, ["n", 1, d, h, w])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes]),
            helper.make_tensor_value_info(
                "cam", TensorProto.FLOAT, ["n", classes, d // 8, h // 16, w // 16]
            ),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", features]),
        ][: 3 if features else 2],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.eye(classes, features, dtype=np.float32), "spread"),
            numpy_helper.from_array(np.array([bias, 0, -0.1, -0.2][:classes], np.float32), "b"),
            numpy_helper.from_array(np.array([2, 3, 4], np.int64), "axes"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


PASSED = Parity(
    scans=1,
    source="random",
    class_flips=0,
    max_probability_difference=0,
    max_logits_error=0,
    max_cam_error=0,
    max_features_error=0,
    limits={},
    passed=True,
)


def write_bundle(
    folder: Path,
    *,
    bias: float = 0.5,
    features: int = FEATURES,
    classes: tuple[str, ...] = PAPER_CLASSES,
) -> Path:
    """OpenVINO and ONNX Runtime in float32 over one file, and a plan nobody here can run.

    With 0 features it is a bundle of an older version.
    """
    folder.mkdir(parents=True)
    write_onnx(folder / "model.onnx", bias=bias, features=features, classes=len(classes))
    (folder / "tensorrt-rtx").mkdir()
    (folder / "tensorrt-rtx" / "sm89-fp16.plan").write_bytes(b"a plan")

    def artifact(name: str, file: str, *, executed: bool = True, target: str = "cpu") -> Artifact:
        backend, precision = name.rsplit("-", 1)
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        return Artifact(
            name=name,
            files={file: digest},
            backend=backend,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            effective_precision=precision if executed else None,  # type: ignore[arg-type]
            target=target,
            batch=(1, 1),
            producer={},
            executed=executed,
            parity=PASSED if executed else None,
            latency_ms=1.0 if executed else None,
        )

    manifest = Manifest(
        toolkit="0.1.0",
        created="2025-01-01T00:00:00Z",
        intended_use="Research use only. Not a medical device.",
        model=ModelCard(
            attention="none",
            width=4,
            parameters=6147,
            checkpoint_sha256="0" * 64,
            trained_on="nothing: random weights",
            features=features,
        ),
        classes=classes,
        preprocessing=Preprocessing(size=SIZE),
        artifacts=(
            artifact("openvino-fp32", "model.onnx"),
            artifact("onnxruntime-fp32", "model.onnx"),
            artifact(
                "tensorrt-rtx-fp16", "tensorrt-rtx/sm89-fp16.plan", executed=False, target="sm89"
            ),
        ),
        default="openvino-fp32",
        built_on={},
    )
    write_manifest(folder, manifest)
    return folder


def put_familiarity(bundle: Path, threshold: float, *, textures: int = TEXTURES) -> Path:
    """Give a bundle what flags scans that lie farther from 0 than the threshold."""
    count = FEATURES + textures
    means, precision = np.zeros((3, count), np.float32), np.eye(count, dtype=np.float32)
    with (bundle / "familiarity.npz").open("wb") as file:
        Familiarity(means, precision, threshold).save(file)
    digest = sha256_of(bundle / "familiarity.npz")
    change_manifest(bundle, familiarity={"file": "familiarity.npz", "sha256": digest})
    return bundle


def change_manifest(bundle: Path, **fields: object) -> None:
    """Set top-level fields of a bundle's manifest, and seal it again."""
    file = bundle / "manifest.json"
    content = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({**content, "content_sha256": content_digest(content)}))
