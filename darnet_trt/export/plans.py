"""TensorRT plans: built here for GPUs that are not, and marked so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from darnet_trt.export.bundle_writer import hashes
from darnet_trt.export.onnx_export import Source, export_onnx
from darnet_trt.export.targets import Candidate
from darnet_trt.export.tensorrt_builder import build_tensorrt
from darnet_trt.export.tensorrt_compat import PACKAGES, TensorRTBackend
from darnet_trt.runtime.manifest import MODEL_FILE, Artifact

__all__ = ["NOT_EXECUTED", "build_plans"]

NOT_EXECUTED: Final = "not executed here"


def build_plans(
    source: Source, folder: Path, candidates: Sequence[Candidate], log: Callable[[str], None]
) -> list[Artifact]:
    """Build TensorRT plans into a bundle's folder, which holds `MODEL_FILE` already.

    Raises:
        MissingPackageError: A candidate's package is not installed.
        BuildError: A plan cannot be built.
        OSError: It cannot be written.
    """
    if not candidates:
        return []
    artifacts = []
    with TemporaryDirectory(dir=folder) as work:
        graphs = {"fp32": folder / MODEL_FILE, "fp16": Path(work) / MODEL_FILE}
        if any(c.precision == "fp16" for c in candidates):
            export_onnx(source, graphs["fp16"], "fp16")
        for candidate in candidates:
            backend = cast(TensorRTBackend, candidate.backend)
            plan = folder / backend / f"{candidate.target}-{candidate.precision}.plan"
            plan.parent.mkdir(exist_ok=True)
            result = build_tensorrt(backend, graphs[candidate.precision], plan, candidate.target)
            log(f"{candidate.name}: built in {result.seconds:.1f} s, {NOT_EXECUTED}")
            artifacts.append(
                Artifact(
                    name=candidate.name,
                    files=hashes(folder, plan),
                    backend=backend,
                    precision=candidate.precision,
                    effective_precision=None,
                    target=candidate.target,
                    batch=(1, 1),
                    producer={PACKAGES[backend][0]: result.version},
                    executed=False,
                    parity=None,
                    latency_ms=None,
                    notes=(f"built in {result.seconds:.1f} s, {NOT_EXECUTED}",),
                )
            )
    return artifacts
