"""Write one of a bundle's engines as a model of NVIDIA Triton Inference Server.

The configuration follows `model_config.proto` of triton-inference-server/common, and the READMEs of
its backends for onnxruntime, openvino and tensorrt.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from darnet_trt.bundle.cam import cam_size
from darnet_trt.bundle.manifest import Artifact, Manifest
from darnet_trt.bundle.reading import Bundle, verified_file
from darnet_trt.errors import UsageError
from darnet_trt.machine.files import cannot_write

MODEL: Final = "darnet"
"""The model's name in Triton: the same as in `darnet-trt serve`."""
_LABELS: Final = "labels.txt"


def write_repository(bundle: Bundle, artifact: Artifact, out: Path) -> Path:
    """Write a model repository with one model, and return the model's folder.

    It is written under a temporary name and renamed: the model is whole or absent.

    Args:
        bundle: From `open_bundle`.
        artifact: One of its engines.
        out: The repository; models of other names in it stay.

    Raises:
        UsageError: Triton has no backend for the engine, or the model is there already.
        BundleError: A file is missing or altered.
        OutputError: The repository cannot be written.
    """
    text = config(bundle, artifact)
    model, temporary = out / MODEL, out / f".{MODEL}.{os.getpid()}"
    if model.exists():
        raise UsageError("this model exists already", where=model, do="remove it first")
    sources = {name: verified_file(bundle, name) for name in artifact.files}
    try:
        (temporary / "1").mkdir(parents=True)
        for name, source in sources.items():
            shutil.copyfile(source, temporary / "1" / Path(name).name)
        (temporary / "config.pbtxt").write_text(text, "ascii")
        labels = "".join(f"{name}\n" for name in bundle.manifest.classes)
        (temporary / _LABELS).write_text(labels, "utf-8")
        temporary.rename(model)
    except OSError as error:
        raise cannot_write(model, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return model


def remarks(artifact: Artifact) -> list[str]:
    """Return what whoever serves an engine by Triton must know, a sentence each."""
    said = []
    if artifact.backend == "openvino" and artifact.precision == "fp32":
        said.append(
            "Triton's OpenVINO backend cannot be told to keep to float32: where the CPU has "
            "bfloat16, OpenVINO takes that"
        )
    if artifact.backend == "tensorrt":
        made_by = artifact.producer.get("tensorrt", "the version that built it")
        said.append(f"it needs a Triton with TensorRT {made_by} and a GPU of {artifact.target}")
        if artifact.plan is not None and artifact.plan.plugin and not artifact.plan.plugin.embedded:
            said.append(
                "it needs the plugin library: build it with darnet-trt plugin, and start Triton "
                "with LD_PRELOAD set to it"
            )
    return said


def config(bundle: Bundle, artifact: Artifact) -> str:
    """Return the text of `config.pbtxt`.

    Raises:
        UsageError: Triton has no backend for the engine.
    """
    if artifact.backend == "tensorrt-rtx":
        raise UsageError(
            f"Triton has no backend for {artifact.name}: it runs plans of TensorRT, not of "
            "TensorRT-RTX",
            where=bundle.path,
            do="choose another engine with --artifact, or build one with --target tensorrt",
        )
    # As in the service: a CPU is no faster with several volumes at once.
    batch = 1 if artifact.target == "cpu" else artifact.batch[1]
    d, h, w = bundle.manifest.preprocessing.size
    classes = len(bundle.manifest.classes)
    outputs = [
        f"  {{ {_tensor('logits', [classes])} label_filename: {_quoted(_LABELS)} }}",
        f"  {{ {_tensor('cam', [classes, *cam_size((d, h, w))])} }}",
    ]
    if features := bundle.manifest.model.features:
        outputs.append(f"  {{ {_tensor('features', [features])} }}")
    lines = [
        f"name: {_quoted(MODEL)}",
        f"backend: {_quoted(artifact.backend)}",
        f"default_model_filename: {_quoted(Path(next(iter(artifact.files))).name)}",
        f"max_batch_size: {batch}",
        f"input [ {{ {_tensor('volume', [1, d, h, w])} }} ]",
        "output [",
        ",\n".join(outputs),
        "]",
        f"instance_group [ {{ count: 1 kind: {_kind(artifact)} }} ]",
        "model_warmup [ {",
        '  name: "zeros" batch_size: 1',
        '  inputs { key: "volume" value {',
        f"    data_type: TYPE_FP32 dims: [ 1, {d}, {h}, {w} ] zero_data: true",
        "  } }",
        "} ]",
    ]
    if batch > 1:
        lines.append("dynamic_batching { }")
    for key, value in _parameters(bundle, artifact):
        lines.append(f"parameters {{ key: {_quoted(key)} value {{ {_string(value)} }} }}")
    return "\n".join(lines) + "\n"


def _parameters(bundle: Bundle, artifact: Artifact) -> Iterator[tuple[str, str]]:
    """Yield what the backend must know, and what a person or client should."""
    if artifact.backend == "openvino":
        yield "PERFORMANCE_HINT", "LATENCY"
        yield "NUM_STREAMS", "1"
        if artifact.precision == "bf16":
            yield "HINT_BF16", "YES"
    manifest: Manifest = bundle.manifest
    yield "bundle_sha256", bundle.sha256
    yield "artifact", artifact.name
    yield "intended_use", manifest.intended_use
    yield "trained_on", manifest.model.trained_on
    yield "preprocessing", manifest.preprocessing.model_dump_json()


def _kind(artifact: Artifact) -> str:
    return "KIND_CPU" if artifact.target == "cpu" else "KIND_GPU"


def _tensor(name: str, dims: list[int]) -> str:
    return f"name: {_quoted(name)} data_type: TYPE_FP32 dims: [ {', '.join(map(str, dims))} ]"


def _string(value: str) -> str:
    return f"string_value: {_quoted(value)}"


def _quoted(text: str) -> str:
    """Return a string of protobuf's text format: other bytes than printable ASCII in octal."""
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in text.encode())
    return f'"{"".join(plain)}"'
